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
{#-
    What is looked up goes by the indexes of the raw tables and of the models, so that a day costs what a day brought.
-#}
-- depends_on: {{ ref('int_loads') }}, {{ ref('int_mailboxes') }}, {{ ref('int_dispatches') }}, {{ ref('int_esp_events') }}
-- depends_on: {{ ref('stg_bitrix__recipients') }}, {{ ref('stg_bitrix__message_arrivals') }}, {{ ref('int_recipient_cards') }}
{%- set since = incremental_since() %}
{%- set changed_addresses = 'select address_id from changed_mailboxes where address_id is not null' %}
{%- set changed_contacts = 'select contact_id from changed_mailboxes where contact_id is not null' %}
{%- set changed_postings = 'select posting_id from changed_dispatches where posting_id is not null' %}
{%- set no_text = 'cast(null as ' ~ dbt.type_string() ~ ')' %}

{% if since -%}
with changed_mailboxes as (

    select * from {{ ref('int_mailboxes') }}
    where _built_at > {{ since }}

),

changed_dispatches as (

    select * from {{ ref('int_dispatches') }}
    where _built_at > {{ since }}

),

recipient_rows as (

    {%- for condition in [
        only_new_loads(since), among('posting_id', changed_postings), among('address_id', changed_addresses)
    ] %}

    select
        recipient_id,
        posting_id
    from {{ ref('stg_bitrix__recipients') }}
    where {{ condition }}
    {{- '\n\n    union all' if not loop.last }}
    {%- endfor %}

),

told as (

    select address_id
    from {{ ref('int_recipient_cards') }}
    where card_type = 'contact'
        and {{ among('card_id', changed_contacts) }}

),

mailboxes as (

    select * from {{ ref('int_mailboxes') }}
    where {{ among('address_id', 'select address_id from told') }}
        and not is_gone

),

-- where the address is gone, or is nobody's, the row may still name a CRM contact
addresses_of_contacts as (

    select told.address_id

    from told
    left join mailboxes
        on told.address_id = mailboxes.address_id
    where mailboxes.person_id is null

),

recipients_of_nobody as (

    {%- for condition in [among('address_id', 'select address_id from addresses_of_contacts'), 'address_id is null'] %}

    select
        recipient_id,
        posting_id,
        crm_contact_id
    from {{ ref('stg_bitrix__recipients') }}
    where {{ condition }}
    {{- '\n\n    union all' if not loop.last }}
    {%- endfor %}

),

recipients_of_contacts as (

    select
        recipients_of_nobody.recipient_id,
        recipients_of_nobody.posting_id

    from recipients_of_nobody
    inner join changed_mailboxes
        on recipients_of_nobody.crm_contact_id = changed_mailboxes.contact_id

),

bitrix_events as (

    {%- for condition in [only_new_loads(since), among('posting_id', changed_postings)] %}

    select
        coalesce('bitrix:' || recipient_id, event_id) as message_key,
        recipient_id,
        posting_id
    from {{ ref('stg_bitrix__message_arrivals') }}
    where {{ condition }}
    {{- '\n\n    union all' if not loop.last }}
    {%- endfor %}

),

esp_events_touched as (

    select
        message_key,
        dispatch_key,
        previous_message_key,
        previous_dispatch_key
    from {{ ref('int_esp_events') }}
    where _built_at > {{ since }}

    {%- for condition in [
        among('email', 'select email from changed_mailboxes where address_id is null and email is not null'),
        among('dispatch_key', 'select dispatch_key from changed_dispatches'),
    ] %}

    union all

    select
        message_key,
        dispatch_key,
        {{ no_text }} as previous_message_key,
        {{ no_text }} as previous_dispatch_key
    from {{ ref('int_esp_events') }}
    where {{ condition }}
    {%- endfor %}

),

{% else -%}
with
{%- endif %}
touched as (

    {%- if since %}

    select
        'bitrix:' || recipient_id as message_key,
        'bitrix:' || posting_id as dispatch_key,
        cast(recipient_id as bigint) as recipient_id
    from recipient_rows

    union

    select
        'bitrix:' || recipient_id,
        'bitrix:' || posting_id,
        cast(recipient_id as bigint)
    from recipients_of_contacts

    union

    select
        message_key,
        'bitrix:' || posting_id,
        cast(recipient_id as bigint)
    from bitrix_events

    union

    select
        message_key,
        dispatch_key,
        cast(null as bigint)
    from esp_events_touched

    union

    select
        previous_message_key,
        previous_dispatch_key,
        cast(null as bigint)
    from esp_events_touched
    where previous_message_key is not null

    {%- else %}

    -- so that the next build knows since when; what is built whole needs no changes
    select
        cast('' as {{ dbt.type_string() }}) as message_key,
        cast(null as {{ dbt.type_string() }}) as dispatch_key,
        cast(null as bigint) as recipient_id
    {%- endif %}

)

select
    message_key,
    dispatch_key,
    recipient_id,
    {{ built_at() }} as _built_at

from touched
