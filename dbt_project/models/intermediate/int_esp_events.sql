{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='event_id',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['message_key']}, {'columns': ['event_id']}, {'columns': ['email']}, {'columns': ['_built_at']}],
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
with recent_loads as (

    select load_id
    from {{ ref('int_loads') }}
    where {{ newer_than(since) }}

),

arrivals as (

    select * from {{ ref('stg_esp__event_arrivals') }}

),

esp_events as (

    select * from {{ ref('stg_esp__events') }}
    where not is_deleted

),

touched_addresses as (

    select distinct
        arrivals.esp,
        arrivals.account,
        coalesce(arrivals.email, '') as email

    from arrivals
    inner join recent_loads
        on arrivals._load_id = recent_loads.load_id

),

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

{% if since -%}
held as (

    select held_events.*
    from {{ this }} as held_events
    inner join touched_addresses
        on held_events.esp = touched_addresses.esp
            and held_events.account = touched_addresses.account
            and coalesce(held_events.email, '') = touched_addresses.email

),

changed as (

    select
        events.event_id,
        events.esp,
        events.account,
        events.email,
        {%- for column in columns %}
        events.{{ column }},
        {%- endfor %}
        false as is_gone,
        held.message_key as previous_message_key,
        held.dispatch_key as previous_dispatch_key

    from events
    left join held
        on events.event_id = held.event_id
    where held.event_id is null
        or held.is_gone
        {%- for column in columns %}
        or {{ differs('events.' ~ column, 'held.' ~ column) }}
        {%- endfor %}

    union all

    select
        held.event_id,
        held.esp,
        held.account,
        held.email,
        {%- for column in columns %}
        held.{{ column }},
        {%- endfor %}
        true as is_gone,
        held.message_key as previous_message_key,
        held.dispatch_key as previous_dispatch_key

    from held
    left join events
        on held.event_id = events.event_id
    where events.event_id is null
        and not held.is_gone

)
{%- else -%}
changed as (

    select
        event_id,
        esp,
        account,
        email,
        {%- for column in columns %}
        {{ column }},
        {%- endfor %}
        false as is_gone,
        cast(null as {{ dbt.type_string() }}) as previous_message_key,
        cast(null as {{ dbt.type_string() }}) as previous_dispatch_key

    from events

)
{%- endif %}

select
    changed.*,
    {{ built_at() }} as _built_at

from changed
