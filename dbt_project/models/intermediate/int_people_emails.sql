with identifiers as (

    select * from {{ ref('int_identifiers_joined') }}

),

emails as (

    select
        identifier as email,
        person_id,
        _built_at

    from identifiers
    where kind = 'email'

)

select * from emails
