with source as (

    select * from {{ source('bitrix', 'b_crm_company') }}

),

renamed as (

    select
        -- ids
        id as company_id,
        nullif(lead_id, 0) as lead_id,

        -- text
        nullif(trim({{ decode_emoji('title') }}), '') as company_name,

        -- booleans
        coalesce(is_my_company, 'N') = 'Y' as is_own,

        -- timestamps
        {{ source_time_to_utc('date_create') }} as created_at

    from source
    where _deleted_at is null

)

select * from renamed
