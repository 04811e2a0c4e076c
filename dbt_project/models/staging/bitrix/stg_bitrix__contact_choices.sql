with source as (

    select * from {{ source('bitrix', 'b_utm_crm_contact') }}

),

renamed as (

    select
        -- ids
        id as contact_choice_id,
        value_id as contact_id,
        field_id,
        value_int as choice_id

    from source
    where _deleted_at is null
        and value_int is not null

)

select * from renamed
