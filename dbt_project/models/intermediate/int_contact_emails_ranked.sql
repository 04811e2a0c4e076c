{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='multi_field_id',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['multi_field_id'], 'unique': true}, {'columns': ['contact_id']}, {'columns': ['_built_at']}],
    post_hook=["delete from {{ this }} where is_gone", "{{ refresh_statistics(this) }}"]
) }}

{#- In an increment the contacts are ranked anew of which an e-mail was loaded, and those that had it before. -#}
-- depends_on: {{ ref('stg_bitrix__multi_field_arrivals') }}, {{ ref('stg_bitrix__multi_fields') }}, {{ ref('int_loads') }}
{%- set since = incremental_since() %}

{% if since -%}
with arrivals as (

    select multi_field_id from {{ ref('stg_bitrix__multi_field_arrivals') }}
    where {{ only_new_loads(since) }}

),

touched_contacts as (

    select entity_id as contact_id
    from {{ ref('stg_bitrix__multi_fields') }}
    where entity_type = 'contact'
        and {{ among('multi_field_id', 'select multi_field_id from arrivals') }}

    union

    select contact_id
    from {{ this }}
    where {{ among('multi_field_id', 'select multi_field_id from arrivals') }}

),

emails as (

    select * from {{ ref('stg_bitrix__multi_field_emails') }}
    where entity_type = 'contact'
        and email is not null
        and {{ among('entity_id', 'select contact_id from touched_contacts') }}

),

held as (

    select * from {{ this }}
    where {{ among('contact_id', 'select contact_id from touched_contacts') }}

),
{%- else -%}
with emails as (

    select * from {{ ref('stg_bitrix__multi_field_emails') }}
    where entity_type = 'contact'
        and email is not null

),
{%- endif %}

ranked as (

    select
        multi_field_id,
        entity_id as contact_id,
        email,
        {{ address_preference() }} as preference

    from emails

),

{{ changed_rows('ranked', 'multi_field_id', ['contact_id', 'email', 'preference'], held='held' if since else none) }}
