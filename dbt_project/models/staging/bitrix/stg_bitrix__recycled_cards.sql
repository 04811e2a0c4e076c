with source as (

    select * from {{ source('bitrix', 'b_recyclebin') }}

),

renamed as (

    select
        -- ids
        cast(id as bigint) as recycle_bin_id,
        {{ text_to_integer('entity_id') }} as card_id,
        _load_id,

        -- text
        case entity_type
            when 'crm_contact' then 'contact'
            when 'crm_lead' then 'lead'
            when 'crm_company' then 'company'
            when 'crm_deal' then 'deal'
            else 'other'
        end as card_type,

        -- booleans
        _deleted_at is null as is_still_in_bin,

        -- timestamps
        {{ source_time_to_utc(adapter.quote('timestamp')) }} as recycled_at

    from source

)

select * from renamed
