with source as (

    select * from {{ source('bitrix', 'b_crm_contact') }}

),

renamed as (

    select
        -- ids
        id as contact_id,
        nullif(lead_id, 0) as lead_id,
        nullif(company_id, 0) as company_id,

        -- text
        nullif(trim({{ decode_emoji('name') }}), '') as first_name,
        nullif(trim({{ decode_emoji('last_name') }}), '') as last_name,

        -- timestamps
        birthdate as birth_date,
        {{ source_time_to_utc('date_create') }} as created_at,
        {{ source_time_to_utc('date_modify') }} as modified_at

    from source
    where _deleted_at is null

)

select * from renamed
