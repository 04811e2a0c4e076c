with identifiers as (

    select * from {{ ref('int_identifiers_joined') }}

),

cards as (

    select
        kind as card_type,
        card_id,
        person_id,
        _built_at

    from identifiers
    where kind in ('contact', 'lead', 'company', 'user')

)

select * from cards
