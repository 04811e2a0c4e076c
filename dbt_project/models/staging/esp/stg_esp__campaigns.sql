with source as (

    select * from {{ source('esp', 'campaigns') }}

),

renamed as (

    select
        -- ids
        esp || ':' || account || ':' || external_id as letter_id,
        esp,
        account,
        external_id as campaign_id,
        list_id,

        -- text
        nullif(title, '') as title,
        nullif(subject, '') as subject,
        status,
        nullif(utm_campaign, '') as utm_campaign,
        -- the HTML, which is read apart from the rest of the campaign
        nullif({{ json_text('payload', ['content', 'html']) }}, '') as body,

        -- numbers; null is what the service does not say, which is not zero
        emails_sent as sent_count,

        -- timestamps
        sent_at

    from source
    where _deleted_at is null

)

select * from renamed
