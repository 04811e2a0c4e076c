{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='mailbox_key',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[
        {'columns': ['mailbox_key'], 'unique': true},
        {'columns': ['address_id']},
        {'columns': ['contact_id']},
        {'columns': ['email']},
        {'columns': ['_built_at']},
    ],
    pre_hook="{{ plan_for_bulk(always=true) }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#-
    Sources name a mailbox by its number in the sender module, by its address, or (an old recipient row) by a CRM contact. In an increment
    the mailboxes are looked at whose address row or entry in the blacklist was loaded, or whose e-mail or contact has news about its person.
-#}
-- depends_on: {{ ref('int_loads') }}, {{ ref('int_identity_claims') }}, {{ ref('int_identifiers') }}, {{ ref('int_identifiers_joined') }}
{%- set since = incremental_since() %}

{% if since -%}
with identifiers_with_news as (

    select
        kind,
        identifier,
        card_id
    from {{ ref('int_identifiers_joined') }}
    where _built_at > {{ since }}

    union

    select
        kind,
        identifier,
        card_id
    from {{ ref('int_identifiers') }}
    where _built_at > {{ since }}

),

touched_emails as (

    select identifier as email
    from identifiers_with_news
    where kind = 'email'

    union

    select email
    from {{ ref('stg_bitrix__blacklisted_emails') }}
    where email is not null
        and {{ only_new_loads(since) }}

    union

    -- an entry of the blacklist that is another address's now
    select identifier
    from {{ ref('int_identity_claims') }}
    where kind = 'email'
        and _built_at > {{ since }}

),

touched_contacts as (

    select card_id
    from identifiers_with_news
    where kind = 'contact'

),

touched_addresses as (

    select cast(address_id as bigint) as address_id
    from {{ ref('stg_bitrix__addresses') }}
    where {{ only_new_loads(since) }}

    union

    select address_id
    from {{ this }}
    where address_id is not null
        and {{ among('email', 'select email from touched_emails') }}

),

addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}
    where {{ among('address_id', 'select address_id from touched_addresses') }}

),

emails_to_read as (

    select email from touched_emails
    union
    select email from addresses

),

people_emails as (

    select * from {{ ref('int_people_emails') }}
    where {{ among('email', 'select email from emails_to_read') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    where card_type = 'contact'
        and {{ among('card_id', 'select card_id from touched_contacts') }}

),

held as (

    select * from {{ this }}
    where {{ among('address_id', 'select address_id from touched_addresses') }}

    union all

    select * from {{ this }}
    where {{ among('mailbox_key', "select 'email:' || email from emails_to_read") }}

    union all

    select * from {{ this }}
    where {{ among('contact_id', 'select card_id from touched_contacts') }}

),
{%- else -%}
with addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    where card_type = 'contact'

),
{%- endif %}

blacklisted_emails as (

    select * from {{ ref('stg_bitrix__blacklisted_emails') }}
    where category = 'permanent_bounce'
        and not is_deleted

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
], held='held' if since else none) }}
