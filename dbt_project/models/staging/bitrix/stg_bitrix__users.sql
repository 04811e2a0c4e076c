with source as (

    select * from {{ source('bitrix', 'b_user') }}

),

renamed as (

    select
        -- ids
        id as user_id,

        -- text
        {{ normalize_email('email') }} as email,
        {{ normalize_phone("coalesce(nullif(personal_mobile, ''), personal_phone)") }} as phone,
        nullif(trim({{ decode_emoji('name') }}), '') as first_name,
        nullif(trim({{ decode_emoji('last_name') }}), '') as last_name,

        -- booleans
        active = 'Y' and coalesce(blocked, 'N') <> 'Y' as is_active,

        -- timestamps
        personal_birthday as birth_date,
        {{ source_time_to_utc('date_register') }} as created_at

    from source
    where _deleted_at is null
        and coalesce(external_auth_id, '') not in ({{ service_accounts() }})

)

select * from renamed
