{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

{#
    Connected components by label propagation: every identifier starts with its own number, takes the smallest label of its
    neighbours, then its label's label (so that a label's reach about doubles with every round). `identity_rounds` bounds the
    rounds; tests/assert_linked_identifiers_are_one_person.sql fails if they were too few.
#}
with identifiers as (

    select * from {{ ref('int_identifiers') }}

),

linked as (

    select * from {{ ref('int_identifiers_linked') }}

),

edges as (

    select
        identifiers.identifier_number as number_a,
        others.identifier_number as number_b

    from linked
    inner join identifiers
        on linked.kind = identifiers.kind
            and linked.identifier = identifiers.identifier
    inner join identifiers as others
        on linked.other_kind = others.kind
            and linked.other_identifier = others.identifier

),

neighbours as (

    select number_a as identifier_number, number_b as neighbour_number from edges
    union
    select number_b, number_a from edges
    union
    select identifier_number, identifier_number from identifiers

),

labels_0 as (

    select
        identifier_number,
        identifier_number as label

    from identifiers

),

{% for round in range(1, var('identity_rounds') + 1) -%}
spread_{{ round }} as (

    select
        neighbours.identifier_number,
        min(labels.label) as label

    from neighbours
    inner join labels_{{ round - 1 }} as labels
        on neighbours.neighbour_number = labels.identifier_number
    group by neighbours.identifier_number

),

labels_{{ round }} as (

    select
        spread.identifier_number,
        labels.label

    from spread_{{ round }} as spread
    inner join spread_{{ round }} as labels
        on spread.label = labels.identifier_number

),

{% endfor -%}

joined as (

    select
        identifiers.kind,
        identifiers.identifier,
        labels.label,
        people.identifier_id as person_id

    from identifiers
    inner join labels_{{ var('identity_rounds') }} as labels
        on identifiers.identifier_number = labels.identifier_number
    inner join identifiers as people
        on labels.label = people.identifier_number

)

select * from joined
