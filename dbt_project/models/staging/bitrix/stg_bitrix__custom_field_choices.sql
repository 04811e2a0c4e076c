with source as (

    select * from {{ source('bitrix', 'b_user_field_enum') }}

),

renamed as (

    select
        -- ids
        id as choice_id,
        user_field_id as field_id,

        -- text
        value as choice_name

    from source
    where _deleted_at is null

)

select * from renamed
