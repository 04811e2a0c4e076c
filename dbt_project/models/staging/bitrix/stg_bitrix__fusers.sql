with source as (

    select * from {{ source('bitrix', 'b_sale_fuser') }}

),

renamed as (

    select
        -- ids
        id as fuser_id,
        nullif(user_id, 0) as user_id,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as created_at,
        {{ source_time_to_utc('date_update') }} as updated_at

    from source
    where _deleted_at is null

)

select * from renamed
