{{ config(
    materialized='incremental',
    incremental_strategy='append',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['message_key']}, {'columns': ['dispatch_key']}, {'columns': ['_built_at']}],
    pre_hook=[
        "{{ plan_for_bulk(always=true) }}",
        "{{ drop_changed_rows('int_messages_touched') }}",
    ],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{{ events_of_messages('click', 'clicked', with_url=true) }}
