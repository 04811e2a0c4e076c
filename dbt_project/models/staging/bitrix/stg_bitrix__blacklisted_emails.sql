with source as (

    select * from {{ source('bitrix', 'b_main_mail_blacklist') }}

),

renamed as (

    select
        -- ids
        id as blacklist_id,
        _load_id,

        -- text
        {{ normalize_email('code') }} as email,
        case category_id when 0 then 'permanent_bounce' else 'manual' end as category,

        -- booleans
        _deleted_at is not null as is_deleted,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as blacklisted_at

    from source

)

select * from renamed
