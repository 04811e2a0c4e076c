with source as (

    select * from {{ source('bitrix', 'b_sender_posting_recipient') }}

),

renamed as (

    select
        -- ids
        id as recipient_id,
        posting_id,
        nullif(contact_id, 0) as address_id,
        {{ php_serialized_integer('fields', 'CRM_CONTACT_ID') }} as crm_contact_id,
        case
            when fields like '%"CRM_ENTITY_TYPE_ID";i:1;%' or fields like '%"CRM_ENTITY_TYPE_ID";s:1:"1";%'
                then {{ php_serialized_integer('fields', 'CRM_ENTITY_ID') }}
        end as crm_lead_id,
        nullif(user_id, 0) as user_id,

        -- text
        case status
            when 'Y' then 'queued'
            when 'N' then 'sent'
            when 'E' then 'failed'
            when 'W' then 'waiting'
            when 'D' then 'stopped_by_goal'
            when 'A' then 'consent_requested'
            else 'unknown'
        end as status,

        -- booleans
        is_read = 'Y' as is_opened,
        is_click = 'Y' as is_clicked,
        is_unsub = 'Y' as is_unsubscribed,
        _deleted_at is not null as is_deleted,

        -- timestamps
        {{ source_time_to_utc('date_sent') }} as sent_at,

        -- the load that last wrote the row
        _load_id

    from source

)

select * from renamed
