with source as (

    select * from {{ source('bitrix', 'b_consent_user_consent') }}

),

renamed as (

    select
        -- ids
        id as consent_id,
        agreement_id,
        nullif(user_id, 0) as user_id,

        -- text
        lower(originator_id) as originator,
        nullif(origin_id, '') as origin,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as consented_at

    from source

)

select * from renamed
