-- However they are grouped, letters, campaigns and quarters count the same messages, and the daily counts hold every message once.
with totals as (

    select
        (select count(*) from {{ ref('int_message_outcomes') }} where dispatch_key is not null) as outcomes,
        (select coalesce(sum(attempted_count), 0) from {{ ref('int_engagement_daily') }}) as daily,
        (select coalesce(sum(attempted_count), 0) from {{ ref('int_engagement_daily') }} where letter_id is not null) as of_letters,
        (select coalesce(sum(attempted_count), 0) from {{ ref('int_engagement_daily') }} where sent_on is not null) as dated,
        (select coalesce(sum(attempted_count), 0) from {{ ref('mart_letter_performance') }}) as letters,
        (select coalesce(sum(attempted_count), 0) from {{ ref('mart_campaign_performance') }}) as campaigns,
        (select coalesce(sum(attempted_count), 0) from {{ ref('mart_deliverability') }}) as domains

)

select *

from totals
where outcomes <> daily
    or of_letters <> letters
    or letters <> campaigns
    or dated <> domains
