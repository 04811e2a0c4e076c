{{ config(schema='intermediate') }}

{# Beside the marts it reads: layers are built one after the other, and the intermediate one comes before them. #}
with trials as (

    select * from {{ ref('int_segment_trials') }}
    where not is_on_both_sides

),

conversions as (

    select * from {{ ref('fct_conversions') }}
    where is_revenue

),

credits as (

    select * from {{ ref('fct_attribution_credits') }}
    where model = '{{ var("lift_credit_model") }}'
        and letter_id is not null

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
    where conversions.converted_at < {{ run_at() }}

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
        trials.assigned_at,
        trials.ends_at > {{ run_at() }} as is_still_observed,
        coalesce(sums.revenue, 0) as revenue,
        coalesce(sums.revenue_before, 0) as revenue_before,
        coalesce(sums.attributed_revenue, 0) as attributed_revenue,
        coalesce(sums.bought, 0) as bought,
        coalesce(sums.bought_before, 0) as bought_before

    from trials
    left join sums
        on trials.segment = sums.segment
            and trials.holdout_pct = sums.holdout_pct
            and trials.person_id = sums.person_id

)

select * from final
