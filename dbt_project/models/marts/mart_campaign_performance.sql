with letters as (

    select * from {{ ref('mart_letter_performance') }}

),

engagement as (

    select * from {{ ref('int_letter_engagement') }}

),

letter_campaigns as (

    select * from {{ ref('int_letter_campaigns') }}

),

dim_letters as (

    select * from {{ ref('dim_letter') }}

),

described as (

    select
        letter_campaigns.campaign,
        dim_letters.source,
        coalesce(dim_letters.campaign_name, dim_letters.utm_campaign, dim_letters.title) as campaign_name,
        dim_letters.sent_at,
        engagement.letter_id,
        engagement.is_open_tracked,
        {%- for count in engagement_counts() %}
        engagement.{{ count }},
        {%- endfor %}
        letters.leads_last_touch,
        letters.deals_last_touch,
        letters.revenue_last_touch

    from engagement
    inner join dim_letters
        on engagement.letter_id = dim_letters.letter_id
    inner join letters
        on engagement.letter_id = letters.letter_id
    inner join letter_campaigns
        on engagement.letter_id = letter_campaigns.letter_id

),

summed as (

    select
        campaign,
        source,
        max(campaign_name) as campaign_name,
        min(sent_at) as first_sent_at,
        max(sent_at) as last_sent_at,
        count(*) as letter_count,
        {{ summed_engagement() }},
        cast(sum(leads_last_touch) as numeric(28, 10)) as leads_last_touch,
        cast(sum(deals_last_touch) as numeric(28, 10)) as deals_last_touch,
        cast(sum(revenue_last_touch) as numeric(18, 2)) as revenue_last_touch

    from described
    group by
        campaign,
        source

),

final as (

    select
        campaign,
        source,
        campaign_name,
        first_sent_at,
        last_sent_at,
        letter_count,
        {%- for count in engagement_counts() %}
        {%- if not count.startswith('bounced_') or count == 'bounced_count' %}
        {{ count }},
        {%- endif %}
        {%- endfor %}
        tracked_count,
        {{ engagement_rates() }},
        leads_last_touch,
        deals_last_touch,
        revenue_last_touch

    from summed

)

select * from final
