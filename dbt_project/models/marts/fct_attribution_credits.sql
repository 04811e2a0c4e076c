{%- set credit_units = 10000000000 -%}

with conversions as (

    select * from {{ ref('fct_conversions') }}

),

touches_ranked as (

    select * from {{ ref('int_touches_ranked') }}

),

messages as (

    select * from {{ ref('int_messages') }}

),

touches as (

    select * from {{ ref('int_touches') }}

),

weighted as (

    {% for model, weight in attribution_models().items() -%}
    select
        conversion_id,
        touch_event_id,
        letter_id,
        touched_at,
        touch_index,
        touch_count,
        '{{ model }}' as model,
        cast({{ weight }} as numeric) as weight
    from touches_ranked
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

shares as (

    select
        weighted.*,
        conversions.conversion_type,
        conversions.converted_at,
        conversions.amount,
        weight / sum(weight) over (
            partition by weighted.conversion_id, weighted.model
        ) as share

    from weighted
    inner join conversions
        on weighted.conversion_id = conversions.conversion_id

),

-- largest remainder: everybody gets the whole units of their share, and the units left over go to the largest remainders
whole_units as (

    select
        *,
        floor(share * {{ credit_units }}) as credit_floor,
        share * {{ credit_units }} - floor(share * {{ credit_units }}) as credit_rest,
        floor(share * amount * 100) as amount_floor,
        share * amount * 100 - floor(share * amount * 100) as amount_rest

    from shares

),

leftovers as (

    select
        *,
        {{ credit_units }} - sum(credit_floor) over (
            partition by conversion_id, model
        ) as credit_left,
        amount * 100 - sum(amount_floor) over (
            partition by conversion_id, model
        ) as amount_left,
        -- equal remainders: the touch nearest to the conversion comes first
        row_number() over (
            partition by conversion_id, model
            order by credit_rest desc, touch_index desc
        ) as credit_place,
        row_number() over (
            partition by conversion_id, model
            order by amount_rest desc, touch_index desc
        ) as amount_place

    from whole_units

),

touched_credits as (

    select
        conversion_id,
        conversion_type,
        model,
        letter_id,
        touch_event_id,
        touched_at,
        converted_at,
        touch_index,
        touch_count,
        (
            credit_floor + case when credit_place <= credit_left then 1 else 0 end
        ) / {{ credit_units }} as credit,
        (
            amount_floor + case when amount_place <= amount_left then 1 else 0 end
        ) / 100 as amount,
        cast(null as {{ dbt.type_string() }}) as no_touch_reason

    from leftovers

),

untouched_conversions as (

    select conversions.*
    from conversions
    left join touches_ranked
        on conversions.conversion_id = touches_ranked.conversion_id
            and touches_ranked.touch_index = 1
    where touches_ranked.conversion_id is null

),

first_messages as (

    select
        person_id,
        min(sent_at) as first_sent_at

    from messages
    where person_id is not null
    group by person_id

),

first_touches as (

    select
        person_id,
        min(touched_at) as first_touched_at

    from touches
    group by person_id

),

untouched_reasons as (

    select
        untouched_conversions.*,
        case
            when untouched_conversions.person_id is null
                then 'person_unknown'
            when first_messages.first_sent_at is null
                or first_messages.first_sent_at > untouched_conversions.converted_at
                then 'no_letter_before'
            when first_touches.first_touched_at is null
                or first_touches.first_touched_at > untouched_conversions.converted_at
                then 'no_touch_before'
            else 'outside_lookback'
        end as no_touch_reason

    from untouched_conversions
    left join first_messages
        on untouched_conversions.person_id = first_messages.person_id
    left join first_touches
        on untouched_conversions.person_id = first_touches.person_id

),

untouched_credits as (

    {% for model in attribution_models() -%}
    select
        conversion_id,
        conversion_type,
        '{{ model }}' as model,
        cast(null as {{ dbt.type_string() }}) as letter_id,
        cast(null as {{ dbt.type_string() }}) as touch_event_id,
        cast(null as {{ timestamp_utc_type() }}) as touched_at,
        converted_at,
        0 as touch_index,
        0 as touch_count,
        1 as credit,
        amount,
        no_touch_reason
    from untouched_reasons
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

credits as (

    select * from touched_credits
    union all
    select * from untouched_credits

),

final as (

    select
        conversion_id || ':' || model || ':' || touch_index as credit_id,
        conversion_id,
        conversion_type,
        model,
        letter_id,
        touch_event_id,
        touched_at,
        converted_at,
        cast(touch_index as integer) as touch_index,
        cast(touch_count as integer) as touch_count,
        cast(credit as numeric(12, 10)) as credit,
        cast(amount as numeric(18, 2)) as amount,
        no_touch_reason

    from credits

)

select * from final
