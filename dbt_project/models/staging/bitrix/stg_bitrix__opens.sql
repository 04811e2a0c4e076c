with source as (

    select * from {{ source('bitrix', 'b_sender_posting_read') }}

),

renamed as (

    select
        -- ids
        id as open_id,
        posting_id,
        nullif(recipient_id, 0) as recipient_id,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as opened_at

    from source
    where _deleted_at is null

)

select * from renamed
