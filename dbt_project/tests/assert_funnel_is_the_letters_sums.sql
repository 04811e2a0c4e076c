-- Stage by stage the funnel is the sum over the letters, and no later message stage is larger than the one it comes from.
with stages as (

    select
        source,
        {%- for stage in ['sent', 'delivered', 'opened', 'clicked', 'leads', 'deals won', 'revenue'] %}
        max(case when stage = '{{ stage }}' then value end) as {{ stage | replace(' ', '_') }}{{ ',' if not loop.last }}
        {%- endfor %}

    from {{ ref('mart_funnel') }}
    group by source

),

letters as (

    select
        source,
        sum(sent_count) as sent,
        sum(delivered_count) as delivered,
        sum(leads_last_touch) as leads,
        sum(revenue_last_touch) as revenue

    from {{ ref('mart_letter_performance') }}
    group by source

)

select *

from stages
inner join letters
    on stages.source = letters.source
where stages.sent <> letters.sent
    or stages.delivered <> letters.delivered
    or stages.leads <> letters.leads
    or stages.revenue <> letters.revenue
    or stages.delivered > stages.sent
    or stages.opened > stages.delivered
    or stages.clicked > stages.delivered
