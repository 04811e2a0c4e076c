with source as (

    select * from {{ source('bitrix', 'b_sender_abuse') }}

),

renamed as (

    select
        -- ids
        id as abuse_report_id,
        nullif(contact_id, 0) as address_id,
        _load_id,

        -- text
        {{ normalize_email('contact_code') }} as email,

        -- booleans
        _deleted_at is not null as is_deleted,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as reported_at

    from source

)

select * from renamed
