with source as (

    select * from {{ source('bitrix', 'b_user_field') }}

),

renamed as (

    select
        -- ids
        id as field_id,

        -- text
        lower(entity_id) as entity,
        lower(field_name) as field_name

    from source
    where _deleted_at is null

)

select * from renamed
