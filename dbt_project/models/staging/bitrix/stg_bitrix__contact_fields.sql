with source as (

    select * from {{ source('bitrix', 'b_uts_crm_contact') }}

),

renamed as (

    select
        -- ids
        value_id as contact_id,

        -- text
        {{ row_as_json('source') }} as field_values

    from source
    where _deleted_at is null

)

select * from renamed
