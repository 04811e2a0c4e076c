with source as (

    select * from {{ source('esp', 'events') }}

),

renamed as (

    select
        esp,
        account,
        {{ normalize_email('email') }} as email,
        _load_id

    from source

)

select * from renamed
