with source as (

    select * from {{ source('bitrix', 'b_sender_mailing_subscription') }}

),

renamed as (

    select
        -- ids
        mailing_id as campaign_id,
        contact_id as address_id,

        -- booleans
        is_unsub = 'Y' as is_unsubscribed,
        _deleted_at is not null as is_deleted,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as first_recorded_at

    from source

)

select * from renamed
