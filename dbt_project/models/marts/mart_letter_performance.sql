with letters as (

    select * from {{ ref('dim_letter') }}

),

engagement as (

    select * from {{ ref('int_letter_engagement') }}

),

credits as (

    select * from {{ ref('mart_letter_credits') }}

),

credit_sums as (

    select
        letter_id,
        {%- for model in attribution_models() %}
        sum(case when model = '{{ model }}' and conversion_type = 'lead_created' then credit else 0 end)
            as leads_{{ model }},
        sum(case when model = '{{ model }}' and conversion_type = 'deal_won' then credit else 0 end)
            as deals_{{ model }},
        sum(case when model = '{{ model }}' and conversion_type = 'deal_won' then amount else 0 end)
            as revenue_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from credits
    where letter_id is not null
    group by letter_id

),

final as (

    select
        letters.letter_id,
        letters.source,
        letters.title,
        letters.subject,
        letters.sent_at,
        {%- for count in ['attempted_count', 'sent_count', 'delivered_count', 'bounced_count', 'rejected_count'] %}
        engagement.{{ count }},
        {%- endfor %}
        {%- for done in ['opened', 'clicked'] %}
        engagement.{{ done }}_count,
        {%- for who in ['human', 'doubtful', 'machine'] %}
        engagement.{{ done }}_{{ who }}_count,
        {%- endfor %}
        {%- endfor %}
        engagement.unsubscribed_count,
        engagement.complained_count,
        letters.source = 'bitrix' or engagement.is_counted as has_recipients,
        engagement.is_open_tracked,
        {%- for count in [
            'sent_count', 'delivered_count', 'opened_count', 'clicked_count', 'bounced_count', 'unsubscribed_count',
            'complained_count'
        ] %}
        engagement.reported_{{ count }},
        {%- endfor %}
        {%- for name, count in {
            'open_rate': 'opened_count', 'open_rate_human': 'opened_human_count', 'click_rate': 'clicked_human_count'
        }.items() %}
        case when engagement.is_open_tracked then {{ rate('engagement.' ~ count, 'engagement.delivered_count') }} end as {{ name }},
        {%- endfor %}
        {%- for model in attribution_models() %}
        cast(coalesce(credit_sums.leads_{{ model }}, 0) as numeric(28, 10)) as leads_{{ model }},
        cast(coalesce(credit_sums.deals_{{ model }}, 0) as numeric(28, 10)) as deals_{{ model }},
        cast(coalesce(credit_sums.revenue_{{ model }}, 0) as numeric(18, 2)) as revenue_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from letters
    inner join engagement
        on letters.letter_id = engagement.letter_id
    left join credit_sums
        on letters.letter_id = credit_sums.letter_id

)

select * from final
