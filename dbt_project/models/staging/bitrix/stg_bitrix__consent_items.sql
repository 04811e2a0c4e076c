with source as (

    select * from {{ source('bitrix', 'b_consent_user_consent_item') }}

),

renamed as (

    select
        -- ids
        id as consent_item_id,
        user_consent_id as consent_id,

        -- text
        {{ normalize_email('value') }} as email

    from source

)

select * from renamed
