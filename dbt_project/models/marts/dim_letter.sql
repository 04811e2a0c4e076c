select
    letter_id,
    source,
    campaign_name,
    title,
    subject,
    sent_at,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_content

from {{ ref('int_letters') }}
