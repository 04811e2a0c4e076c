with source as (

    select * from {{ source('bitrix', 'b_crm_tracking_source') }}

),

renamed as (

    select
        -- ids
        id as tracking_source_id,

        -- text
        nullif(code, '') as source_code,
        name as source_name,
        nullif(utm_source, '') as utm_source

    from source
    where _deleted_at is null

)

select * from renamed
