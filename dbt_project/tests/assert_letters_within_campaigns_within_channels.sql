-- A letter has one campaign and a campaign one channel, so no letter earns more than its campaign, and no campaign more than its channel.
with credits as (

    select * from {{ ref('fct_attribution_credits') }}
    where touch_event_id is not null

),

letter_sums as (

    select model, conversion_type, letter_id, min(campaign) as campaign, count(distinct campaign) as parents, sum(credit) as credit
    from credits
    where letter_id is not null
    group by model, conversion_type, letter_id

),

campaign_sums as (

    select model, conversion_type, campaign, min(channel) as channel, count(distinct channel) as parents, sum(credit) as credit
    from credits
    group by model, conversion_type, campaign

),

channel_sums as (

    select model, conversion_type, channel, sum(credit) as credit
    from credits
    group by model, conversion_type, channel

)

select letter_sums.model, letter_sums.conversion_type, letter_sums.letter_id as part, letter_sums.credit
from letter_sums
left join campaign_sums
    on letter_sums.model = campaign_sums.model
        and letter_sums.conversion_type = campaign_sums.conversion_type
        and letter_sums.campaign = campaign_sums.campaign
where letter_sums.parents <> 1
    or campaign_sums.credit is null
    or letter_sums.credit > campaign_sums.credit

union all

select campaign_sums.model, campaign_sums.conversion_type, campaign_sums.campaign as part, campaign_sums.credit
from campaign_sums
left join channel_sums
    on campaign_sums.model = channel_sums.model
        and campaign_sums.conversion_type = channel_sums.conversion_type
        and campaign_sums.channel = channel_sums.channel
where campaign_sums.parents <> 1
    or channel_sums.credit is null
    or campaign_sums.credit > channel_sums.credit
