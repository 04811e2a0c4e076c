{#-
    The difference of two means with Neyman's variance, and the same after CUPED (Deng, Xu, Kohavi, Walker: Improving the Sensitivity of
    Online Controlled Experiments by Utilizing Pre-Experiment Data, WSDM 2013): what the person did as long before the draw foretells a part of
    what they do after it, and that part is taken off. The draw had no part in it, so nothing is biased.
-#}
{%- set z = 1.959964 -%}
{%- set outcomes = {'revenue': 'revenue_before', 'bought': 'bought_before'} -%}

with trials as (

    select * from {{ ref('fct_segment_trials') }}

),

trial_people as (

    select * from trials
    where not is_on_both_sides

),

observed as (

    {%- for outcome, before in outcomes.items() %}
    select
        segment,
        holdout_pct,
        '{{ outcome }}' as outcome,
        person_id,
        is_held_out,
        cast({{ outcome }} as {{ dbt.type_float() }}) as value_after,
        cast({{ before }} as {{ dbt.type_float() }}) as value_before

    from trial_people
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

-- one slope for both sides together; null where nobody did anything before
slopes as (

    select
        segment,
        holdout_pct,
        outcome,
        avg(value_before) as mean_before,
        covar_pop(value_before, value_after) / nullif(var_pop(value_before), 0) as slope

    from observed
    group by
        segment,
        holdout_pct,
        outcome

),

adjusted as (

    select
        observed.*,
        observed.value_after - slopes.slope * (observed.value_before - slopes.mean_before) as value_adjusted

    from observed
    inner join slopes
        on observed.segment = slopes.segment
            and observed.holdout_pct = slopes.holdout_pct
            and observed.outcome = slopes.outcome

),

sides as (

    select
        segment,
        holdout_pct,
        outcome,
        {%- for side, condition in {'sent': 'not is_held_out', 'held_out': 'is_held_out'}.items() %}
        count(case when {{ condition }} then 1 end) as {{ side }}_count,
        {%- for value in ['value_after', 'value_adjusted'] %}
        avg(case when {{ condition }} then {{ value }} end) as {{ side }}_{{ value }},
        var_samp(case when {{ condition }} then {{ value }} end) as {{ side }}_{{ value }}_variance
        {{- ',' if not loop.last }}
        {%- endfor %}
        {{- ',' if not loop.last }}
        {%- endfor %}

    from adjusted
    group by
        segment,
        holdout_pct,
        outcome

),

differences as (

    select
        *,
        sent_count >= {{ var('lift_min_people') }} and held_out_count >= {{ var('lift_min_people') }} as is_enough,
        {%- for value in ['value_after', 'value_adjusted'] %}
        sent_{{ value }} - held_out_{{ value }} as {{ value }}_lift,
        sqrt(sent_{{ value }}_variance / sent_count + held_out_{{ value }}_variance / held_out_count) as {{ value }}_error
        {{- ',' if not loop.last }}
        {%- endfor %}

    from sides
    where sent_count > 0
        and held_out_count > 0

),

attributed as (

    select
        segment,
        holdout_pct,
        sum(case when is_held_out then 0 else attributed_revenue end) as attributed_revenue,
        sum(case when is_held_out then attributed_revenue else 0 end) as attributed_revenue_held_out,
        count(case when is_still_observed then 1 end) as still_observed_count

    from trial_people
    group by
        segment,
        holdout_pct

),

begun as (

    select
        segment,
        holdout_pct,
        min(assigned_at) as began_at,
        count(case when is_on_both_sides then 1 end) as both_sides_count

    from trials
    group by
        segment,
        holdout_pct

),

final as (

    select
        differences.segment || ':' || differences.holdout_pct || ':' || differences.outcome as segment_lift_id,
        differences.segment,
        differences.holdout_pct,
        differences.outcome,
        begun.began_at,
        differences.sent_count,
        differences.held_out_count,
        attributed.still_observed_count,
        begun.both_sides_count,
        cast(differences.sent_value_after as numeric(20, 6)) as sent_mean,
        cast(differences.held_out_value_after as numeric(20, 6)) as held_out_mean,
        {%- for value, name in {'value_after': 'lift', 'value_adjusted': 'cuped_lift'}.items() %}
        cast(differences.{{ value }}_lift as numeric(20, 6)) as {{ name }},
        {%- for end, sign in {'low': '-', 'high': '+'}.items() %}
        case
            when differences.is_enough
                then cast(differences.{{ value }}_lift {{ sign }} {{ z }} * differences.{{ value }}_error as numeric(20, 6))
        end as {{ name }}_{{ end }},
        {%- endfor %}
        {%- endfor %}
        cast(1 - power(differences.value_adjusted_error / nullif(differences.value_after_error, 0), 2) as numeric(9, 6))
            as cuped_variance_saved,
        cast(differences.value_after_lift / nullif(differences.held_out_value_after, 0) as numeric(20, 6)) as lift_rate,
        cast(differences.value_after_lift * differences.sent_count as numeric(20, 2)) as lift_total,
        cast(case when differences.outcome = 'revenue' then attributed.attributed_revenue end as numeric(18, 2)) as attributed_revenue,
        cast(case when differences.outcome = 'revenue' then attributed.attributed_revenue_held_out end as numeric(18, 2))
            as attributed_revenue_held_out

    from differences
    inner join attributed
        on differences.segment = attributed.segment
            and differences.holdout_pct = attributed.holdout_pct
    inner join begun
        on differences.segment = begun.segment
            and differences.holdout_pct = begun.holdout_pct

)

select * from final
