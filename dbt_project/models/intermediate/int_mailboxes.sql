{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='mailbox_key',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['mailbox_key'], 'unique': true}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#- Sources name a mailbox by its number in the sender module, by its address, or (an old recipient row) by a CRM contact. -#}
with addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}

),

blacklisted_emails as (

    select * from {{ ref('stg_bitrix__blacklisted_emails') }}
    where category = 'permanent_bounce'
        and not is_deleted

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    where card_type = 'contact'

),

dead_emails as (

    select distinct email
    from blacklisted_emails

),

mailboxes as (

    select
        'bitrix:' || addresses.address_id as mailbox_key,
        cast(addresses.address_id as bigint) as address_id,
        cast(null as bigint) as contact_id,
        addresses.email,
        {{ email_domain('addresses.email') }} as email_domain,
        people_emails.person_id,
        addresses.address_type <> 'email' as is_other_channel,
        dead_emails.email is not null as has_bounced_for_good

    from addresses
    left join people_emails
        on addresses.email = people_emails.email
    left join dead_emails
        on addresses.email = dead_emails.email

    union all

    select
        'email:' || email as mailbox_key,
        cast(null as bigint) as address_id,
        cast(null as bigint) as contact_id,
        email,
        {{ email_domain('email') }} as email_domain,
        person_id,
        false as is_other_channel,
        false as has_bounced_for_good

    from people_emails

    union all

    select
        'contact:' || card_id as mailbox_key,
        cast(null as bigint) as address_id,
        cast(card_id as bigint) as contact_id,
        cast(null as {{ dbt.type_string() }}) as email,
        cast(null as {{ dbt.type_string() }}) as email_domain,
        person_id,
        false as is_other_channel,
        false as has_bounced_for_good

    from people_crm_cards

),

{{ changed_rows('mailboxes', 'mailbox_key', [
    'address_id', 'contact_id', 'email', 'email_domain', 'person_id', 'is_other_channel', 'has_bounced_for_good'
]) }}
