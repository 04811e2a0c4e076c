with source as (

    select * from {{ source('bitrix', 'b_crm_webform_result') }}

),

renamed as (

    select
        -- ids
        id as form_result_id,
        form_id,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as submitted_at

    from source
    where _deleted_at is null

)

select * from renamed
