with source as (

    select * from {{ source('bitrix', 'b_sender_posting') }}

),

renamed as (

    select
        -- ids
        id as posting_id,
        nullif(mailing_id, 0) as campaign_id,
        nullif(mailing_chain_id, 0) as letter_number,

        -- text
        case status
            when 'N' then 'new'
            when 'P' then 'partly_sent'
            when 'S' then 'sent'
            when 'E' then 'sent_with_errors'
            when 'A' then 'aborted'
            when 'W' then 'waiting'
            else 'unknown'
        end as status,

        -- numbers
        count_send_success as sent_count,

        -- timestamps
        {{ source_time_to_utc('date_create') }} as created_at,
        {{ source_time_to_utc('date_send') }} as send_started_at,
        {{ source_time_to_utc('date_sent') }} as send_finished_at

    from source
    where _deleted_at is null

)

select * from renamed
