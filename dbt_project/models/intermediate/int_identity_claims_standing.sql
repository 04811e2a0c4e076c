with claims as (

    select * from {{ ref('int_identity_claims') }}
    where kind is not null
        and not is_gone

),

-- read a second time, because a list of millions that is used twice would be written down in between
cards as (

    select
        identifier_number,
        is_deleted,
        is_nobody

    from {{ ref('int_identity_claims') }}
    where kind in ('contact', 'lead', 'company', 'user')
        and other_kind is null
        and not is_gone

),

-- an address taken off a card that is still there is no longer that card's; a deleted card keeps the addresses it had
standing as (

    select claims.*
    from claims
    left join cards
        on claims.identifier_number = cards.identifier_number
    where not coalesce(cards.is_nobody, false)
        and (
            not claims.is_deleted
            or claims.other_kind is null
            or coalesce(cards.is_deleted, true)
        )

)

select * from standing
