with source as (

    select * from {{ source('esp', 'campaign_totals') }}

),

renamed as (

    select
        -- ids
        esp || ':' || account || ':' || external_id as letter_id,
        esp,
        account,
        external_id as campaign_id,

        -- numbers; null is what the service does not say, which is not zero
        sent as sent_count,
        delivered as delivered_count,
        opens as open_count,
        opened as opened_count,
        opened_without_proxies as opened_without_proxies_count,
        clicks as click_count,
        clicked as clicked_count,
        bounced_hard as bounced_hard_count,
        bounced_soft as bounced_soft_count,
        bounced as bounced_count,
        unsubscribed as unsubscribed_count,
        complained as complained_count

    from source
    where _deleted_at is null

)

select * from renamed
