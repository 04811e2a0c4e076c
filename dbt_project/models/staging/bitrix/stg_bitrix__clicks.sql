with source as (

    select * from {{ source('bitrix', 'b_sender_posting_click') }}

),

renamed as (

    select
        -- ids
        id as click_id,
        posting_id,
        nullif(recipient_id, 0) as recipient_id,

        -- text
        nullif(url, '') as url,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as clicked_at

    from source
    where _deleted_at is null

)

select * from renamed
