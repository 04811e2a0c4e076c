{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='event_id',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[
        {'columns': ['message_key']},
        {'columns': ['event_id']},
        {'columns': ['email']},
        {'columns': ['dispatch_key']},
        {'columns': ['_built_at']},
    ],
    pre_hook="{{ plan_for_bulk(always=true) }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}
{%- set since = incremental_since() -%}
{%- set columns = [
    'dispatch_key', 'message_id', 'message_key', 'event_type', 'bounce_kind', 'reason', 'url', 'is_proxy', 'occurred_at'
] -%}

{#-
    What is told twice counts once, so a new row can end the life of an older one of the same address. The rows of the addresses that
    have news are compared with what was held; those that are no more stay, marked `is_gone`, so that readers hear of it.
-#}
-- depends_on: {{ ref('stg_esp__event_arrivals') }}, {{ ref('int_loads') }}
{%- set touched_emails = "select email from touched_addresses where email <> ''" %}
{% if since -%}
with touched_addresses as (

    select distinct
        esp,
        account,
        coalesce(email, '') as email

    from {{ ref('stg_esp__event_arrivals') }}
    where {{ only_new_loads(since) }}

),

esp_events as (

    {%- for condition in [among('email', touched_emails), 'email is null'] %}

    select * from {{ ref('stg_esp__events') }}
    where not is_deleted
        and {{ condition }}
    {{- '\n\n    union all' if not loop.last }}
    {%- endfor %}

),
{%- else -%}
with esp_events as (

    select * from {{ ref('stg_esp__events') }}
    where not is_deleted

),
{%- endif %}

events as (

    select
        esp_events.event_id,
        esp_events.esp,
        esp_events.account,
        esp_events.email,
        esp_events.letter_id as dispatch_key,
        esp_events.message_id,
        -- a webhook may not know the letter yet
        coalesce(
            esp_events.message_id,
            esp_events.esp || ':' || esp_events.account || '::' || {{ dbt.hash('esp_events.email') }},
            esp_events.event_id
        ) as message_key,
        esp_events.event_type,
        esp_events.bounce_kind,
        esp_events.reason,
        esp_events.url,
        esp_events.is_proxy,
        esp_events.occurred_at

    from esp_events
    {%- if since %}
    inner join touched_addresses
        on esp_events.esp = touched_addresses.esp
            and esp_events.account = touched_addresses.account
            and coalesce(esp_events.email, '') = touched_addresses.email
    {%- endif %}

),

{% if is_incremental() -%}
held as (

    {%- if since %}
    {%- for condition in [among('held_events.email', touched_emails), 'held_events.email is null'] %}

    select held_events.*
    from {{ this }} as held_events
    inner join touched_addresses
        on held_events.esp = touched_addresses.esp
            and held_events.account = touched_addresses.account
            and coalesce(held_events.email, '') = touched_addresses.email
    where {{ condition }}
    {{- '\n\n    union all' if not loop.last }}
    {%- endfor %}
    {%- else %}

    select * from {{ this }}
    {%- endif %}

),

{% endif -%}
{{ changed_cte(
    'events', 'event_id', columns, held='held', carried=['esp', 'account', 'email'], previous=['message_key', 'dispatch_key']
) }}

select
    changed.*,
    {{ built_at() }} as _built_at

from changed
