{{ config(schema='intermediate') }}

{# Beside the marts it reads: layers are built one after the other, and the intermediate one comes before them. #}
with holdouts as (

    select * from {{ ref('stg_ops__holdouts') }}

),

redirects as (

    select * from {{ ref('dim_person_redirect') }}

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

)

select
    segment,
    holdout_pct,
    person_id,
    assigned_at,
    is_held_out,
    is_on_both_sides,
    {{ add_seconds('assigned_at', 86400 * var('lift_days')) }} as ends_at,
    {{ add_seconds('assigned_at', -86400 * var('lift_days')) }} as history_from

from people
where assigned_at < {{ run_at() }}
