with letter_performance as (

    select * from {{ ref('mart_letter_performance') }}

),

{%- set stages = [
    ('sent', 'sent_count'),
    ('delivered', 'delivered_count'),
    ('opened', 'opened_human_count'),
    ('clicked', 'clicked_human_count'),
    ('leads', 'leads_last_touch'),
    ('deals won', 'deals_last_touch'),
] %}

stages as (

    {% for stage, measure in stages -%}
    select
        {{ loop.index }} as stage_order,
        '{{ stage }}' as stage,
        source,
        cast(sum({{ measure }}) as numeric(28, 10)) as value
    from letter_performance
    group by source
    {{ 'union all' if not loop.last }}
    {% endfor %}

)

select * from stages
