{#-
    Worked out whole and compared: a rate, a card or a deal of somebody else can change what a conversion is worth and whose it is. A
    conversion that goes to another person is a new row, and the old one stays as `is_gone`: both people have to hear of it.
-#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='conversion_key',
    full_refresh=false,
    on_schema_change='append_new_columns',
    unlogged=false,
    indexes=[
        {'columns': ['conversion_key'], 'unique': true},
        {'columns': ['conversion_id']},
        {'columns': ['person_id']},
        {'columns': ['_built_at']},
    ],
    pre_hook="{{ plan_for_bulk(always=true) }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

with conversions as (

    select * from {{ ref('int_conversions') }}

),

currencies as (

    select * from {{ ref('stg_bitrix__currencies') }}

),

letter_links as (

    select * from {{ ref('int_letter_link') }}
    where letter_id is not null
        and not is_gone

),

base_currency as (

    select max(currency) as currency
    from currencies
    where is_base

),

keyed as (

    select
        conversions.conversion_id || '|' || coalesce(conversions.person_id, '') as conversion_key,
        conversions.conversion_id,
        conversions.conversion_type,
        conversions.source_id,
        conversions.person_id,
        conversions.converted_at,
        conversions.amount,
        conversions.refunded_amount,
        conversions.original_amount,
        conversions.original_currency,
        conversions.is_revenue,
        conversions.lead_created_at,
        conversions.deal_created_at,
        conversions.deal_id,
        conversions.linked_type,
        conversions.linked_id,
        base_currency.currency,
        letter_links.letter_id as linked_letter_id,
        letter_links.tier as link_tier

    from conversions
    cross join base_currency
    left join letter_links
        on conversions.linked_type = letter_links.entity_type
            and cast(conversions.linked_id as {{ dbt.type_string() }}) = letter_links.entity_id

),

{{ changed_rows(
    'keyed',
    'conversion_key',
    [
        'conversion_id', 'conversion_type', 'source_id', 'person_id', 'converted_at', 'amount', 'refunded_amount', 'original_amount',
        'original_currency', 'is_revenue', 'lead_created_at', 'deal_created_at', 'deal_id', 'linked_type', 'linked_id', 'currency',
        'linked_letter_id', 'link_tier',
    ]
) }}
