{{ config(
    materialized='connected_components',
    identifiers='int_identifiers',
    links='int_identifiers_linked',
    unlogged=false,
    indexes=[
        {'columns': ['identifier_number'], 'unique': true},
        {'columns': ['person_number']},
        {'columns': ['person_id']},
        {'columns': ['identifier_id']},
        {'columns': ['identifier']},
        {'columns': ['card_id']},
        {'columns': ['_built_at']},
    ],
    post_hook="{{ refresh_statistics(this) }}"
) }}

-- depends_on: {{ ref('int_identifiers_linked') }}

with identifiers as (

    select
        identifier_number,
        kind,
        identifier,
        card_id,
        identifier_id,
        naming_rank

    from {{ ref('int_identifiers') }}
    where not is_gone

)

select * from identifiers
