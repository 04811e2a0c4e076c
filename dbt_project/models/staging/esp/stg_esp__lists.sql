with source as (

    select * from {{ source('esp', 'lists') }}

),

renamed as (

    select
        -- ids
        esp || ':' || account || ':' || external_id as list_key,
        esp,
        account,
        external_id as list_id,

        -- text
        nullif(name, '') as list_name,
        status,

        -- numbers
        contacts as contact_count,

        -- timestamps
        created_at

    from source
    where _deleted_at is null

)

select * from renamed
