with source as (

    select * from {{ source('bitrix', 'b_sender_mailing_chain') }}

),

renamed as (

    select
        -- ids
        id as letter_number,
        mailing_id as campaign_id,
        {{ text_to_integer('message_id') }} as message_content_id,

        -- text
        message_code as channel,
        case status
            when 'N' then 'new'
            when 'I' then 'initialising'
            when 'R' then 'ready'
            when 'S' then 'sending'
            when 'P' then 'paused'
            when 'W' then 'waiting'
            when 'H' then 'halted'
            when 'T' then 'planned'
            when 'Y' then 'sent'
            when 'X' then 'stopped'
            when 'C' then 'cancelled'
            else 'unknown'
        end as status,
        nullif({{ decode_emoji('title') }}, '') as title,
        nullif({{ decode_emoji('subject') }}, '') as legacy_subject,
        nullif(link_params, '') as legacy_link_params,
        nullif({{ decode_emoji('message') }}, '') as legacy_body,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as created_at

    from source
    where _deleted_at is null

)

select * from renamed
