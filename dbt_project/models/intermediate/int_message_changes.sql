{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['_built_at']}],
    pre_hook="{{ plan_for_bulk(always=true) }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}
{%- set since = incremental_since() -%}
{%- set is_new = newer_than(since) if since else 'false' %}

with touched as (

    select * from {{ ref('int_messages_touched') }}
    where {{ is_new }}

),

domain_bursts as (

    select * from {{ ref('int_domain_bursts') }}
    where dispatch_key is not null
        and {{ is_new }}

),

clicks as (

    select * from {{ ref('int_clicks') }}
    where {{ among('dispatch_key', 'select dispatch_key from domain_bursts') }}

),

complaints as (

    select * from {{ ref('int_bitrix_complaints') }}
    where {{ is_new }}

),

changes as (

    select
        message_key,
        dispatch_key,
        recipient_id
    from touched

    union all

    -- a burst that came or went changes what is thought of every click in it
    select
        clicks.message_key,
        clicks.dispatch_key,
        case when clicks.source = 'bitrix' then {{ recipient_of('clicks.message_key') }} end as recipient_id
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
        cast(null as bigint) as recipient_id
    from complaints

    union all

    select
        message_id as message_key,
        dispatch_key,
        {{ recipient_of('message_id') }} as recipient_id
    from complaints
    where message_id is not null

    union all

    select
        previous_message_id as message_key,
        previous_dispatch_key as dispatch_key,
        {{ recipient_of('previous_message_id') }} as recipient_id
    from complaints
    where previous_message_id is not null

    {%- if not since %}

    union all

    -- so that the next build knows since when; what is built whole needs no changes
    select
        cast('' as {{ dbt.type_string() }}) as message_key,
        cast(null as {{ dbt.type_string() }}) as dispatch_key,
        cast(null as bigint) as recipient_id
    {%- endif %}

)

select distinct
    message_key,
    message_key as message_id,
    dispatch_key,
    recipient_id,
    {{ built_at() }} as _built_at

from changes
