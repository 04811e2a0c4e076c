with source as (

    select * from {{ source('bitrix', 'b_sender_posting_unsub') }}

),

renamed as (

    select
        -- ids
        id as unsubscribe_id,
        posting_id,
        nullif(recipient_id, 0) as recipient_id,

        -- booleans
        _deleted_at is not null as is_deleted,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as unsubscribed_at

    from source

)

select * from renamed
