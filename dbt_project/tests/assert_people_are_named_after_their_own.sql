-- A person's id is that of one of the person's own identifiers, the first by rank, card and number.
with identifiers as (

    select
        *,
        row_number() over (
            partition by person_id
            order by
                naming_rank,
                card_id,
                identifier_number
        ) as naming_order

    from {{ ref('int_identifiers_joined') }}

)

select *

from identifiers
where naming_order = 1
    and (identifier_id <> person_id or identifier_number <> person_number)
