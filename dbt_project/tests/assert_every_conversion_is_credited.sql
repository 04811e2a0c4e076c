-- Every conversion has, for every model, one row per touch; without touches exactly one, with the reason and no letter.
with expected as (

    {% for model in attribution_models() -%}
    select
        conversion_id,
        '{{ model }}' as model
    from {{ ref('fct_conversions') }}
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

found as (

    select
        conversion_id,
        model,
        count(*) as row_count,
        max(touch_count) as touch_count,
        sum(case when no_touch_reason is not null then 1 else 0 end) as reason_count,
        sum(case when letter_id is not null then 1 else 0 end) as letter_count,
        sum(case when touch_event_id is not null and (letter_id is not null or touch_type = 'visited') then 1 else 0 end)
            as touch_row_count

    from {{ ref('fct_attribution_credits') }}
    group by
        conversion_id,
        model

)

select
    expected.conversion_id,
    expected.model,
    found.row_count,
    found.touch_count

from expected
left join found
    on expected.conversion_id = found.conversion_id
        and expected.model = found.model
where found.conversion_id is null
    or (
        found.touch_count = 0
        and not (found.row_count = 1 and found.reason_count = 1 and found.letter_count = 0)
    )
    or (
        found.touch_count > 0
        and not (found.row_count = found.touch_count and found.reason_count = 0 and found.touch_row_count = found.touch_count)
    )
