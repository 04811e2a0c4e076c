{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='person_id',
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['person_id'], 'unique': true}, {'columns': ['_built_at']}],
    pre_hook=[
        "{{ plan_for_bulk(always=true) }}",
        "{{ drop_people_gone() }}",
    ],
) }}

{#-
    In an increment the people are looked at of whom an identifier, a card, an address, a subscription or a message changed. Those who are
    nobody any more are dropped before.
-#}
-- depends_on: {{ ref('int_identity_claims') }}, {{ ref('int_identifiers') }}, {{ ref('int_loads') }}
-- depends_on: {{ ref('stg_bitrix__cards') }}, {{ ref('stg_bitrix__multi_field_arrivals') }}, {{ ref('stg_bitrix__multi_fields') }}
{%- set since = incremental_since() %}
{%- set address_ids -%}
    select address_id from {{ ref('int_mailboxes') }}
    where {{ among('email', 'select email from people_emails') }}
        and address_id is not null
        and not is_gone
{%- endset %}

{% if since -%}
with cards_with_news as (

    select
        card_type,
        card_id

    from {{ ref('stg_bitrix__cards') }}
    where {{ only_new_loads(since) }}

),

multi_fields_with_news as (

    select multi_field_id
    from {{ ref('stg_bitrix__multi_field_arrivals') }}
    where {{ only_new_loads(since) }}

),

cards_of_multi_fields as (

    select
        entity_type as card_type,
        entity_id as card_id

    from {{ ref('stg_bitrix__multi_fields') }}
    where {{ among('multi_field_id', 'select multi_field_id from multi_fields_with_news') }}

),

emails_with_news as (

    select email from {{ ref('stg_bitrix__addresses') }}
    where {{ only_new_loads(since) }}

    union

    select email from {{ ref('stg_esp__contacts') }}
    where {{ only_new_loads(since) }}

),

touched_people as (

    {{ people_with_news(since) | indent(4) }}

    union

    select identifiers.person_id
    from {{ ref('int_identifiers_joined') }} as identifiers
    inner join cards_with_news
        on identifiers.kind = cards_with_news.card_type
            and identifiers.card_id = cards_with_news.card_id
    where {{ among('identifiers.card_id', 'select card_id from cards_with_news') }}

    union

    select identifiers.person_id
    from {{ ref('int_identifiers_joined') }} as identifiers
    inner join cards_of_multi_fields
        on identifiers.kind = cards_of_multi_fields.card_type
            and identifiers.card_id = cards_of_multi_fields.card_id
    where {{ among('identifiers.card_id', 'select card_id from cards_of_multi_fields') }}

    union

    select person_id
    from {{ ref('int_identifiers_joined') }}
    where {{ among('identifier_id', "select 'email:' || " ~ dbt.hash('email') ~ " from emails_with_news where email is not null") }}

    union

    select person_id
    from {{ ref('int_person_engagement') }}
    where _built_at > {{ since }}

),

identifiers as (

    select * from {{ ref('int_identifiers_joined') }}
    where {{ among('person_id', 'select person_id from touched_people') }}

),
{%- else -%}
with identifiers as (

    select * from {{ ref('int_identifiers_joined') }}

),
{%- endif %}

people_emails as (

    select
        identifier as email,
        person_id

    from identifiers
    where kind = 'email'

),

people_phones as (

    select
        identifier as phone,
        person_id

    from identifiers
    where kind = 'phone'

),

people_crm_cards as (

    select
        kind as card_type,
        card_id,
        person_id

    from identifiers
    where kind in ('contact', 'lead', 'company', 'user')

),

contacts as (

    select * from {{ ref('stg_bitrix__contacts') }}
    {%- if since %}
    where {{ among('contact_id', "select card_id from people_crm_cards where card_type = 'contact'") }}
    {%- endif %}

),

leads as (

    select * from {{ ref('stg_bitrix__leads') }}
    {%- if since %}
    where {{ among('lead_id', "select card_id from people_crm_cards where card_type = 'lead'") }}
    {%- endif %}

),

users as (

    select * from {{ ref('stg_bitrix__users') }}
    {%- if since %}
    where {{ among('user_id', "select card_id from people_crm_cards where card_type = 'user'") }}
    {%- endif %}

),

addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}
    where not is_deleted
    {%- if since %}
        and {{ among('address_id', address_ids) }}
    {%- endif %}

),

subscribers as (

    select * from {{ ref('stg_esp__contacts') }}
    where not is_deleted
    {%- if since %}
        and {{ among('email', 'select email from people_emails') }}
    {%- endif %}

),

contact_emails as (

    select * from {{ ref('int_contact_emails_ranked') }}
    {%- if since %}
    where {{ among('contact_id', "select card_id from people_crm_cards where card_type = 'contact'") }}
    {%- endif %}

),

multi_field_phones as (

    select * from {{ ref('stg_bitrix__multi_field_phones') }}
    {%- if since %}
    where {{ among('entity_id', "select card_id from people_crm_cards where card_type = 'contact'") }}
    {%- endif %}

),

engagement as (

    select * from {{ ref('int_person_engagement') }}
    where not is_gone
    {%- if since %}
        and {{ among('person_id', 'select person_id from touched_people') }}
    {%- endif %}

),

people as (

    select distinct person_id
    from identifiers

),

-- contacts that still exist, the oldest card first
contacts_ranked as (

    select
        people_crm_cards.person_id,
        contacts.contact_id,
        contacts.first_name,
        contacts.last_name,
        contacts.birth_date,
        row_number() over (
            partition by people_crm_cards.person_id
            order by contacts.contact_id
        ) as contact_rank

    from people_crm_cards
    inner join contacts
        on people_crm_cards.card_id = contacts.contact_id
    where people_crm_cards.card_type = 'contact'

),

-- accounts that still exist, those in use first
users_ranked as (

    select
        people_crm_cards.person_id,
        users.user_id,
        users.first_name,
        users.last_name,
        users.birth_date,
        row_number() over (
            partition by people_crm_cards.person_id
            order by
                users.is_active desc,
                users.user_id
        ) as user_rank

    from people_crm_cards
    inner join users
        on people_crm_cards.card_id = users.user_id
    where people_crm_cards.card_type = 'user'

),

-- a shared mailbox on a card is not the person's, so it is not among these
card_emails as (

    select
        people_emails.email,
        min(contacts_ranked.contact_rank * 1000 + contact_emails.preference) as preference

    from contacts_ranked
    inner join contact_emails
        on contacts_ranked.contact_id = contact_emails.contact_id
    inner join people_emails
        on contact_emails.email = people_emails.email
            and contacts_ranked.person_id = people_emails.person_id
    group by people_emails.email

),

subscribed as (

    select distinct email
    from subscribers
    where status = 'subscribed'

),

-- the oldest card's first, then one the person keeps at an ESP
emails_ranked as (

    select
        people_emails.person_id,
        people_emails.email,
        row_number() over (
            partition by people_emails.person_id
            order by
                case
                    when card_emails.email is not null then 1
                    when subscribed.email is not null then 2
                    else 3
                end,
                card_emails.preference,
                people_emails.email
        ) as email_rank

    from people_emails
    left join card_emails
        on people_emails.email = card_emails.email
    left join subscribed
        on people_emails.email = subscribed.email

),

-- the oldest card's first, a mobile before others, as the sender module picks one (bitrix.md 2.4)
card_phones as (

    select
        people_phones.phone,
        min(contacts_ranked.contact_rank) as contact_rank,
        min(case multi_field_phones.value_type when 'MAILING' then 1 when 'MOBILE' then 2 else 3 end) as type_rank,
        min(multi_field_phones.multi_field_id) as multi_field_id

    from contacts_ranked
    inner join multi_field_phones
        on contacts_ranked.contact_id = multi_field_phones.entity_id
            and multi_field_phones.entity_type = 'contact'
    inner join people_phones
        on multi_field_phones.phone = people_phones.phone
            and contacts_ranked.person_id = people_phones.person_id
    group by people_phones.phone

),

phones_ranked as (

    select
        people_phones.person_id,
        people_phones.phone,
        row_number() over (
            partition by people_phones.person_id
            order by
                coalesce(card_phones.contact_rank, 1000000),
                card_phones.type_rank,
                card_phones.multi_field_id,
                people_phones.phone
        ) as phone_rank

    from people_phones
    left join card_phones
        on people_phones.phone = card_phones.phone

),

sightings as (

    select people_crm_cards.person_id, contacts.created_at as seen_at
    from people_crm_cards
    inner join contacts
        on people_crm_cards.card_id = contacts.contact_id
    where people_crm_cards.card_type = 'contact'

    union all

    select people_crm_cards.person_id, leads.created_at
    from people_crm_cards
    inner join leads
        on people_crm_cards.card_id = leads.lead_id
    where people_crm_cards.card_type = 'lead'

    union all

    select people_crm_cards.person_id, users.created_at
    from people_crm_cards
    inner join users
        on people_crm_cards.card_id = users.user_id
    where people_crm_cards.card_type = 'user'

    union all

    select people_emails.person_id, addresses.created_at
    from addresses
    inner join people_emails
        on addresses.email = people_emails.email

    union all

    select people_emails.person_id, coalesce(subscribers.opted_in_at, subscribers.changed_at)
    from subscribers
    inner join people_emails
        on subscribers.email = people_emails.email

),

first_sightings as (

    select
        person_id,
        min(seen_at) as first_seen_at

    from sightings
    group by person_id

),

final as (

    select
        people.person_id,
        emails_ranked.email as primary_email,
        phones_ranked.phone as primary_phone,
        cast(contacts_ranked.contact_id as bigint) as bitrix_contact_id,
        cast(users_ranked.user_id as bigint) as bitrix_user_id,
        coalesce(contacts_ranked.first_name, users_ranked.first_name) as first_name,
        coalesce(contacts_ranked.last_name, users_ranked.last_name) as last_name,
        cast(coalesce(contacts_ranked.birth_date, users_ranked.birth_date) as date) as birth_date,
        coalesce(
            least(first_sightings.first_seen_at, engagement.first_event_at),
            first_sightings.first_seen_at,
            engagement.first_event_at
        ) as first_seen_at,
        engagement.first_sent_at,
        engagement.last_sent_at,
        cast(coalesce(engagement.sent_count, 0) as bigint) as sent_count,
        engagement.last_opened_at,
        engagement.last_clicked_at,
        {{ built_at() }} as _built_at

    from people
    left join contacts_ranked
        on people.person_id = contacts_ranked.person_id
            and contacts_ranked.contact_rank = 1
    left join users_ranked
        on people.person_id = users_ranked.person_id
            and users_ranked.user_rank = 1
    left join emails_ranked
        on people.person_id = emails_ranked.person_id
            and emails_ranked.email_rank = 1
    left join phones_ranked
        on people.person_id = phones_ranked.person_id
            and phones_ranked.phone_rank = 1
    left join first_sightings
        on people.person_id = first_sightings.person_id
    left join engagement
        on people.person_id = engagement.person_id

)

select * from final
