{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='letter_id',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['letter_id'], 'unique': true}, {'columns': ['_built_at']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

with letters as (

    select * from {{ ref('int_letters') }}

),

{{ changed_rows('letters', 'letter_id', [
    'source', 'letter_number', 'letter_key', 'first_sent_at',
    'utm_source', 'utm_medium', 'utm_campaign', 'utm_content', 'utm_term',
]) }}
