{{ config(
    materialized='incremental',
    incremental_strategy='append',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[
        {'columns': ['recipient_id'], 'unique': true},
        {'columns': ['message_key']},
        {'columns': ['dispatch_key']},
        {'columns': ['_built_at']},
    ],
    pre_hook=[
        "{{ plan_for_bulk(always=true) }}",
        "{{ drop_changed_rows('int_messages_touched') }}",
    ],
    post_hook="{{ refresh_statistics(this) }}"
) }}
{%- set since = incremental_since() -%}

with touched as (

    select distinct recipient_id
    from {{ ref('int_messages_touched') }}
    where {{ newer_than(since) }}
        and recipient_id is not null

),

recipients as (

    select * from {{ ref('stg_bitrix__recipients') }}
    where status in ('sent', 'failed')
        and not is_deleted

),

dispatches as (

    select * from {{ ref('int_dispatches') }}
    where not is_gone

),

recipients_to_build as (

    select * from recipients
    {%- if since %}
    where {{ among('recipient_id', 'select recipient_id from touched') }}
    {%- endif %}

),

mailboxes as (

    select * from {{ ref('int_mailboxes') }}
    where not is_gone
    {%- if since %}
        and {{ among('address_id', 'select address_id from recipients_to_build') }}
    {%- endif %}

),

recipients_of_nobody as (

    select recipients_to_build.crm_contact_id

    from recipients_to_build
    left join mailboxes
        on recipients_to_build.address_id = mailboxes.address_id
    where mailboxes.person_id is null

),

contacts as (

    select * from {{ ref('int_mailboxes') }}
    where not is_gone
    {%- if since %}
        and {{ among('contact_id', 'select crm_contact_id from recipients_of_nobody') }}
    {%- endif %}

),

-- where the address is gone, FIELDS may still say whose it was
messages as (

    select
        'bitrix:' || recipients.recipient_id as message_id,
        'bitrix:' || recipients.recipient_id as message_key,
        'bitrix' as source,
        cast(recipients.recipient_id as bigint) as recipient_id,
        cast(recipients.address_id as bigint) as address_id,
        'bitrix:' || recipients.posting_id as dispatch_key,
        dispatches.letter_id,
        coalesce(mailboxes.person_id, contacts.person_id) as person_id,
        mailboxes.email_domain,
        recipients.sent_at,
        recipients.status = 'sent' as is_sent,
        recipients.status = 'sent' as is_delivered,
        recipients.status = 'failed' as is_bounced,
        case
            when recipients.status = 'failed' and mailboxes.has_bounced_for_good
                then 'hard'
            when recipients.status = 'failed'
                then 'unknown'
        end as bounce_kind,
        false as is_policy_bounce,
        {{ built_at() }} as _built_at

    from recipients_to_build as recipients
    left join dispatches
        on recipients.posting_id = dispatches.posting_id
    left join mailboxes
        on recipients.address_id = mailboxes.address_id
    left join contacts
        on case when mailboxes.person_id is null then recipients.crm_contact_id end = contacts.contact_id
    where dispatches.is_other_channel is not true
        and mailboxes.is_other_channel is not true

)

select * from messages
