{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='event_id',
    indexes=[{'columns': ['event_id'], 'unique': true}, {'columns': ['_built_at']}],
    unlogged=false,
    on_schema_change='append_new_columns',
    post_hook="{{ refresh_statistics(this) }}"
) }}

with abuse_reports as (

    select * from {{ ref('stg_bitrix__abuse_reports') }}
    where not is_deleted

),

-- all letters to those who complained: a few of millions
recipients as (

    select recipient_id
    from {{ ref('stg_bitrix__recipients') }}
    where {{ among('address_id', 'select address_id from abuse_reports where address_id is not null') }}

),

unsubscribes as (

    select * from {{ ref('stg_bitrix__unsubscribes') }}
    where not is_deleted
        and {{ among('recipient_id', 'select recipient_id from recipients') }}

),

messages as (

    select * from {{ ref('int_bitrix_messages') }}
    where {{ among('recipient_id', 'select recipient_id from recipients') }}

),

dispatches as (

    select * from {{ ref('int_dispatches') }}
    where not is_gone

),

mailboxes as (

    select * from {{ ref('int_mailboxes') }}
    where not is_gone

),

-- "this is spam" is ticked on the unsubscribe page, and only the unsubscribe row knows the letter
candidates as (

    select
        abuse_reports.abuse_report_id,
        messages.message_id,
        'bitrix:' || unsubscribes.posting_id as dispatch_key,
        coalesce(messages.letter_id, dispatches.letter_id) as letter_id,
        row_number() over (
            partition by abuse_reports.abuse_report_id
            order by
                abs({{ seconds_between('unsubscribes.unsubscribed_at', 'abuse_reports.reported_at') }}),
                unsubscribes.unsubscribe_id
        ) as candidate_rank

    from unsubscribes
    inner join messages
        on unsubscribes.recipient_id = messages.recipient_id
    inner join abuse_reports
        on messages.address_id = abuse_reports.address_id
            and abs({{ seconds_between('unsubscribes.unsubscribed_at', 'abuse_reports.reported_at') }})
            <= {{ var('complaint_match_seconds') }}
    left join dispatches
        on unsubscribes.posting_id = dispatches.posting_id

),

complaints as (

    select
        'bitrix:complained:' || abuse_reports.abuse_report_id as event_id,
        candidates.message_id,
        candidates.dispatch_key,
        candidates.letter_id,
        mailboxes.person_id,
        abuse_reports.reported_at as occurred_at

    from abuse_reports
    left join candidates
        on abuse_reports.abuse_report_id = candidates.abuse_report_id
            and candidates.candidate_rank = 1
    left join mailboxes
        on 'email:' || abuse_reports.email = mailboxes.mailbox_key

),

{%- if is_incremental() %}

-- what a complaint belonged to before is changed by it too
described as (

    select
        complaints.*,
        case when {{ differs('held.message_id', 'complaints.message_id') }} then held.message_id
            else held.previous_message_id end as previous_message_id,
        case when {{ differs('held.message_id', 'complaints.message_id') }} then held.dispatch_key
            else held.previous_dispatch_key end as previous_dispatch_key

    from complaints
    left join {{ this }} as held
        on complaints.event_id = held.event_id

),
{%- else %}

described as (

    select
        complaints.*,
        cast(null as {{ dbt.type_string() }}) as previous_message_id,
        cast(null as {{ dbt.type_string() }}) as previous_dispatch_key

    from complaints

),
{%- endif %}

{{ changed_rows('described', 'event_id', [
    'message_id', 'dispatch_key', 'letter_id', 'person_id', 'occurred_at', 'previous_message_id', 'previous_dispatch_key'
]) }}
