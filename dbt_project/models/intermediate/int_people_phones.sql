with identifiers as (

    select * from {{ ref('int_identifiers_joined') }}

),

phones as (

    select
        identifier as phone,
        person_id,
        _built_at

    from identifiers
    where kind = 'phone'

)

select * from phones
