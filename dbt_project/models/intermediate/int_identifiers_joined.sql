{{ config(
    materialized='connected_components',
    links='int_identifiers_linked',
    unlogged=false,
    indexes=[
        {'columns': ['identifier_number'], 'unique': true},
        {'columns': ['person_number']},
    ],
    post_hook="{{ refresh_statistics(this) }}"
) }}

-- depends_on: {{ ref('int_identifiers_linked') }}

with identifiers as (

    select * from {{ ref('int_identifiers') }}

)

select * from identifiers
