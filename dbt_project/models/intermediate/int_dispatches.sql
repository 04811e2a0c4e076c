{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='dispatch_key',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['dispatch_key'], 'unique': true}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

with postings as (

    select * from {{ ref('stg_bitrix__postings') }}

),

bitrix_letters as (

    select * from {{ ref('stg_bitrix__letters') }}

),

esp_campaigns as (

    select * from {{ ref('stg_esp__campaigns') }}

),

dispatches as (

    select
        'bitrix:' || postings.posting_id as dispatch_key,
        cast(postings.posting_id as bigint) as posting_id,
        case when bitrix_letters.channel = 'mail' then 'bitrix:' || bitrix_letters.letter_number end as letter_id,
        coalesce(bitrix_letters.channel <> 'mail', false) as is_other_channel

    from postings
    left join bitrix_letters
        on postings.letter_number = bitrix_letters.letter_number

    union all

    select
        letter_id as dispatch_key,
        cast(null as bigint) as posting_id,
        letter_id,
        false as is_other_channel

    from esp_campaigns

),

{{ changed_rows('dispatches', 'dispatch_key', ['posting_id', 'letter_id', 'is_other_channel']) }}
