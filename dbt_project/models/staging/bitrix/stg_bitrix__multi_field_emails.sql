with source as (

    select * from {{ source('bitrix', 'b_crm_field_multi') }}

),

renamed as (

    select
        -- ids
        id as multi_field_id,
        element_id as entity_id,

        -- text
        case entity_id
            when 'CONTACT' then 'contact'
            when 'LEAD' then 'lead'
            when 'COMPANY' then 'company'
            when 'DEAL' then 'deal'
            else 'recycled'
        end as entity_type,
        value_type,
        {{ normalize_email('value') }} as email

    from source
    where type_id = 'EMAIL'
        and _deleted_at is null

)

select * from renamed
