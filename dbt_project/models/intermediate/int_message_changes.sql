with touched as (

    select * from {{ ref('int_messages_touched') }}

),

domain_bursts as (

    select * from {{ ref('int_domain_bursts') }}

),

clicks as (

    select * from {{ ref('int_clicks') }}

),

complaints as (

    select * from {{ ref('int_bitrix_complaints') }}

),

changes as (

    select
        message_key,
        dispatch_key,
        recipient_id,
        _built_at
    from touched

    union all

    -- a burst that came or went changes what is thought of every click in it
    select
        clicks.message_key,
        clicks.dispatch_key,
        case when clicks.source = 'bitrix' then {{ recipient_of('clicks.message_key') }} end as recipient_id,
        domain_bursts._built_at
    from domain_bursts
    inner join clicks
        on domain_bursts.dispatch_key = clicks.dispatch_key
            and domain_bursts.email_domain = clicks.email_domain
            and clicks.occurred_at >= domain_bursts.started_at
            and clicks.occurred_at <= domain_bursts.ended_at

    union all

    select
        event_id as message_key,
        dispatch_key,
        cast(null as bigint) as recipient_id,
        _built_at
    from complaints

    union all

    select
        message_id as message_key,
        dispatch_key,
        {{ recipient_of('message_id') }} as recipient_id,
        _built_at
    from complaints
    where message_id is not null

    union all

    select
        previous_message_id as message_key,
        previous_dispatch_key as dispatch_key,
        {{ recipient_of('previous_message_id') }} as recipient_id,
        _built_at
    from complaints
    where previous_message_id is not null

)

select
    message_key,
    message_key as message_id,
    dispatch_key,
    recipient_id,
    _built_at

from changes
