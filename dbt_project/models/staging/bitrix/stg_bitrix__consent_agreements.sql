with source as (

    select * from {{ source('bitrix', 'b_consent_agreement') }}

),

renamed as (

    select
        -- ids
        id as agreement_id,

        -- text
        nullif(code, '') as agreement_code,
        name as agreement_name,
        coalesce(label_text, '') as label_text,
        coalesce(agreement_text, '') as agreement_text,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as created_at

    from source
    where _deleted_at is null

)

select * from renamed
