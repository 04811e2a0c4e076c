{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='identifier_number',
    unlogged=false,
    indexes=[{'columns': ['identifier_number'], 'unique': true}, {'columns': ['_built_at']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#-
    One that nothing names any more stays, marked `is_gone`, so that readers hear of it. In an increment only the identifiers are looked
    at that a claim names, or named, which changed; with a card's claim stand or fall those of all it has.
-#}
-- depends_on: {{ ref('int_identity_claims') }}
{%- set since = incremental_since() %}

{% if since -%}
with changed_claims as (

    select
        identifier_number,
        other_identifier_number

    from {{ ref('int_identity_claims') }}
    where _built_at > {{ since }}

),

touched as (

    select identifier_number
    from changed_claims
    where identifier_number is not null

    union

    select other_identifier_number
    from changed_claims
    where other_identifier_number is not null

    union

    select other_identifier_number
    from {{ ref('int_identity_claims') }}
    where {{ among('identifier_number', 'select identifier_number from changed_claims') }}
        and other_identifier_number is not null

),

claimed as (

    {{ claimed_identifiers('select identifier_number from touched') | indent(4) }}

),

held as (

    select * from {{ this }}
    where {{ among('identifier_number', 'select identifier_number from touched') }}

),
{%- else -%}
with claimed as (

    {{ claimed_identifiers() | indent(4) }}

),
{%- endif %}

identifiers as (

    select distinct
        kind,
        identifier,
        identifier_number

    from claimed

),

-- what a person is named after, in order of preference: their oldest contact, an address, an account, a lead, a company, a phone
named as (

    select
        identifier_number,
        kind,
        identifier,
        case when kind not in ('email', 'phone') then cast(identifier as bigint) end as card_id,
        case
            when kind in ('email', 'phone') then kind || ':' || {{ dbt.hash('identifier') }}
            else 'bitrix:' || kind || ':' || identifier
        end as identifier_id,
        case kind
            when 'contact' then 1
            when 'email' then 2
            when 'user' then 3
            when 'lead' then 4
            when 'company' then 5
            else 6
        end as naming_rank

    from identifiers

),

{{ changed_rows(
    'named', 'identifier_number', ['kind', 'identifier', 'card_id', 'identifier_id', 'naming_rank'], held='held' if since else none
) }}
