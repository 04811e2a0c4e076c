{#- A copy of the few events that end something, so that who looks for them does not have to read all the opens and clicks. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['event_id'], 'unique': true}, {'columns': ['_built_at']}],
    pre_hook="{{ drop_changed_rows('int_esp_events', key='event_id') }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}
{%- set since = incremental_since() %}

with esp_events as (

    select * from {{ ref('int_esp_events') }}
    where event_type in ('unsubscribed', 'complained', 'bounced')
        and not is_gone
        and {{ newer_than(since) }}

),

final as (

    select
        event_id,
        esp,
        account,
        email,
        message_id,
        event_type,
        bounce_kind,
        occurred_at,
        {{ built_at() }} as _built_at

    from esp_events

)

select * from final
