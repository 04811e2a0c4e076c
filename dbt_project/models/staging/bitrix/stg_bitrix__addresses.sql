with source as (

    select * from {{ source('bitrix', 'b_sender_contact') }}

),

renamed as (

    select
        -- ids
        id as address_id,
        nullif(user_id, 0) as user_id,
        case when type_id in (4, 5, 10) then {{ text_to_integer('code') }} end as crm_card_id,
        _load_id,

        -- text
        case when type_id = 1 then {{ normalize_email('code') }} end as email,
        case when type_id = 2 then {{ normalize_phone('code') }} end as phone,
        case type_id
            when 4 then 'company'
            when 5 then 'contact'
            when 10 then 'lead'
        end as crm_card_type,
        nullif({{ decode_emoji('name') }}, '') as name,
        case
            when type_id = 1 then 'email'
            when type_id = 2 then 'phone'
            when type_id = 3 then 'messenger'
            when type_id between 4 and 10 then 'crm_id'
            else 'unknown'
        end as address_type,
        case consent_status
            when 'N' then 'new'
            when 'W' then 'waiting'
            when 'D' then 'denied'
            when 'A' then 'accepted'
            else 'unknown'
        end as consent_status,

        -- booleans
        blacklisted = 'Y' as is_blacklisted,
        is_unsub = 'Y' as is_unsubscribed,
        _deleted_at is not null as is_deleted,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as created_at,
        {{ source_time_to_utc('date_update') }} as updated_at

    from source

)

select * from renamed
