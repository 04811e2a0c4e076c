{{ config(materialized='view') }}

with identifiers as (

    select * from {{ ref('int_identifiers_joined') }}

),

claims as (

    select * from {{ ref('int_identity_claims') }}
    where is_deleted
        and not is_gone
        and other_kind in ('email', 'phone')

),

-- an address that was taken off a card, and is nobody else's, leads to the card it was on
taken_off as (

    select
        claims.other_kind || ':' || {{ dbt.hash('claims.other_identifier') }} as old_person_id,
        min(cards.person_id) as person_id

    from claims
    inner join identifiers as cards
        on claims.identifier_number = cards.identifier_number
    left join identifiers
        on claims.other_identifier_number = identifiers.identifier_number
    where identifiers.identifier_number is null
    group by 1

),

final as (

    select
        identifier_id as old_person_id,
        person_id

    from identifiers

    union all

    select
        old_person_id,
        person_id

    from taken_off

)

select * from final
