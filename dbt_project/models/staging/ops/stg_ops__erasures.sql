with erased_identifiers as (

    -- whose addresses they were is known by a hash that the models may not read
    select erasure_id, kind, pseudonym, erased_at from {{ source('ops', 'erased_identifiers') }}
    where kind = 'email'

),

renamed as (

    select
        -- ids
        erasure_id,

        -- text
        pseudonym as email,

        -- timestamps
        erased_at

    from erased_identifiers

)

select * from renamed
