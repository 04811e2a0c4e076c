{{ config(materialized='view') }}

with holdouts as (

    select * from {{ ref('stg_ops__holdouts') }}
    where assigned_at < {{ run_at() }}

),

redirects as (

    select * from {{ ref('dim_person_redirect') }}

),

conversions as (

    select * from {{ ref('fct_conversions') }}
    where is_revenue
        and converted_at < {{ run_at() }}

),

credits as (

    select * from {{ ref('fct_attribution_credits') }}
    where model = '{{ var("lift_credit_model") }}'
        and letter_id is not null

),

-- two people who turn out to be one may have been drawn apart; they show no difference between the sides
people as (

    select
        holdouts.segment,
        holdouts.holdout_pct,
        coalesce(redirects.person_id, holdouts.person_id) as person_id,
        min(holdouts.assigned_at) as assigned_at,
        min(case when holdouts.is_held_out then 1 else 0 end) = 1 as is_held_out,
        count(distinct holdouts.is_held_out) > 1 as is_on_both_sides

    from holdouts
    left join redirects
        on holdouts.person_id = redirects.old_person_id
    group by
        holdouts.segment,
        holdouts.holdout_pct,
        coalesce(redirects.person_id, holdouts.person_id)

),

trials as (

    select
        *,
        {{ add_seconds('assigned_at', 86400 * var('lift_days')) }} as ends_at,
        {{ add_seconds('assigned_at', -86400 * var('lift_days')) }} as history_from

    from people

),

credited as (

    select
        conversion_id,
        sum(amount) as amount

    from credits
    group by conversion_id

),

purchases as (

    select
        conversions.person_id,
        conversions.converted_at,
        conversions.amount,
        coalesce(credited.amount, 0) as credited_amount

    from conversions
    left join credited
        on conversions.conversion_id = credited.conversion_id

),

sums as (

    select
        trials.segment,
        trials.holdout_pct,
        trials.person_id,
        sum(case when purchases.converted_at >= trials.assigned_at then purchases.amount else 0 end) as revenue,
        sum(case when purchases.converted_at < trials.assigned_at then purchases.amount else 0 end) as revenue_before,
        sum(case when purchases.converted_at >= trials.assigned_at then purchases.credited_amount else 0 end) as attributed_revenue,
        max(case when purchases.converted_at >= trials.assigned_at then 1 else 0 end) as bought,
        max(case when purchases.converted_at < trials.assigned_at then 1 else 0 end) as bought_before

    from trials
    inner join purchases
        on trials.person_id = purchases.person_id
            and purchases.converted_at >= trials.history_from
            and purchases.converted_at < trials.ends_at
    group by
        trials.segment,
        trials.holdout_pct,
        trials.person_id

),

final as (

    select
        trials.segment,
        trials.holdout_pct,
        trials.person_id,
        trials.is_held_out,
        trials.is_on_both_sides,
        trials.assigned_at,
        trials.ends_at > {{ run_at() }} as is_still_observed,
        cast(coalesce(sums.revenue, 0) as numeric(18, 2)) as revenue,
        cast(coalesce(sums.revenue_before, 0) as numeric(18, 2)) as revenue_before,
        cast(coalesce(sums.attributed_revenue, 0) as numeric(18, 2)) as attributed_revenue,
        coalesce(sums.bought, 0) as bought,
        coalesce(sums.bought_before, 0) as bought_before

    from trials
    left join sums
        on trials.segment = sums.segment
            and trials.holdout_pct = sums.holdout_pct
            and trials.person_id = sums.person_id

)

select * from final
