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
        -- the HTML, where the service hands it out: SendPulse, eSputnik, Mailchimp
        {%- set places = [['message', 'body'], ['htmlText'], ['content', 'html']] %}
        coalesce(
            {%- for place in places %}
            nullif({{ json_text('payload', place) }}, ''){{ ',' if not loop.last }}
            {%- endfor %}
        ) as body,

        -- numbers; null is what the service does not say, which is not zero
        emails_sent as sent_count,

        -- timestamps
        sent_at

    from source
    where _deleted_at is null

)

select * from renamed
