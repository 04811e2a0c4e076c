with source as (

    select * from {{ source('bitrix', 'b_crm_field_multi') }}
    where type_id in ('EMAIL', 'PHONE')

),

countries as (

    select
        fm_id,
        min(case when _deleted_at is null then country_code end) as country_code

    from {{ source('bitrix', 'b_crm_field_multi_phone_country') }}
    group by fm_id

),

renamed as (

    select
        -- ids
        source.id as multi_field_id,
        source.element_id as entity_id,

        -- text
        case source.entity_id
            when 'CONTACT' then 'contact'
            when 'LEAD' then 'lead'
            when 'COMPANY' then 'company'
            when 'DEAL' then 'deal'
            when 'SUS_CONTACT' then 'recycled_contact'
            when 'SUS_LEAD' then 'recycled_lead'
            when 'SUS_COMPANY' then 'recycled_company'
            else 'other'
        end as entity_type,
        lower(source.type_id) as identifier_type,
        source.value_type,
        case source.type_id
            when 'EMAIL' then {{ normalize_email('source.value') }}
            else {{ normalize_phone('source.value', 'countries.country_code') }}
        end as identifier,

        -- booleans
        source._deleted_at is not null as is_deleted

    from source
    left join countries
        on source.id = countries.fm_id

)

select * from renamed
