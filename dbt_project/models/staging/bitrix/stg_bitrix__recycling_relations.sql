with source as (

    select * from {{ source('bitrix', 'b_crm_recycling_relation') }}

),

renamed as (

    select
        -- ids
        src_entity_type_id || ':' || src_entity_id || ':' || src_recycle_bin_id || '-'
        || dst_entity_type_id || ':' || dst_entity_id || ':' || dst_recycle_bin_id as relation_id,
        cast(src_entity_id as bigint) as source_card_id,
        cast(dst_entity_id as bigint) as target_card_id,
        cast(nullif(src_recycle_bin_id, 0) as bigint) as source_recycle_bin_id,
        cast(nullif(dst_recycle_bin_id, 0) as bigint) as target_recycle_bin_id,
        cast(nullif(previous_src_entity_id, 0) as bigint) as previous_source_card_id,
        cast(nullif(previous_dst_entity_id, 0) as bigint) as previous_target_card_id,
        _load_id,

        -- text
        case src_entity_type_id
            when 1 then 'lead'
            when 2 then 'deal'
            when 3 then 'contact'
            when 4 then 'company'
            else 'other'
        end as source_card_type,
        case dst_entity_type_id
            when 1 then 'lead'
            when 2 then 'deal'
            when 3 then 'contact'
            when 4 then 'company'
            else 'other'
        end as target_card_type

    from source

)

select * from renamed
