with source as (

    select * from {{ source('esp', 'events') }}

),

renamed as (

    select
        -- ids
        _load_id,

        -- text
        {{ normalize_email('email') }} as email

    from source

)

select * from renamed
