with source as (

    select * from {{ source('bitrix', 'b_crm_utm') }}

),

renamed as (

    select
        -- ids
        entity_type_id,
        entity_id,

        -- text
        case entity_type_id
            when 1 then 'lead'
            when 2 then 'deal'
            when 3 then 'contact'
            when 4 then 'company'
            else 'other'
        end as entity_type,
        lower(code) as tag,
        nullif(trim(value), '') as tag_value

    from source
    where _deleted_at is null

)

select * from renamed
