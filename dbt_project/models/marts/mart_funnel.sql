with letter_performance as (

    select * from {{ ref('mart_letter_performance') }}

),

visits as (

    select * from {{ ref('int_visits') }}
    where letter_id is not null
        and not is_gone

),

credits as (

    select * from {{ ref('mart_letter_credits') }}
    where model = 'last_touch'
        and conversion_type = 'deal_created'
        and letter_id is not null

),

visit_counts as (

    select
        letter_id,
        count(*) as visit_count

    from visits
    group by letter_id

),

deal_credits as (

    select
        letter_id,
        sum(credit) as deals_created

    from credits
    group by letter_id

),

letters as (

    select
        letter_performance.*,
        coalesce(visit_counts.visit_count, 0) as visit_count,
        coalesce(deal_credits.deals_created, 0) as deals_created

    from letter_performance
    left join visit_counts
        on letter_performance.letter_id = visit_counts.letter_id
    left join deal_credits
        on letter_performance.letter_id = deal_credits.letter_id

),

{%- set stages = [
    ('sent', 'sent_count'),
    ('delivered', 'delivered_count'),
    ('opened', 'opened_human_count'),
    ('clicked', 'clicked_human_count'),
    ('visits', 'visit_count'),
    ('leads', 'leads_last_touch'),
    ('deals', 'deals_created'),
    ('deals won', 'deals_last_touch'),
    ('revenue', 'revenue_last_touch'),
] %}
{%- set units = {'visits': 'visits', 'leads': 'conversions', 'deals': 'conversions', 'deals won': 'conversions', 'revenue': 'money'} %}

stages as (

    {% for stage, measure in stages -%}
    select
        {{ loop.index }} as stage_order,
        '{{ stage }}' as stage,
        source,
        '{{ units.get(stage, "messages") }}' as unit,
        cast(sum({{ measure }}) as numeric(28, 10)) as value
    from letters
    group by source
    {{ 'union all' if not loop.last }}
    {% endfor %}

)

select * from stages
