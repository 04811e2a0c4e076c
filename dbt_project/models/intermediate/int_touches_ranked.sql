{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with conversions as (

    select * from {{ ref('int_conversions') }}

),

touches as (

    select * from {{ ref('int_touches') }}

),

touches_in_window as (

    select
        conversions.conversion_id,
        touches.touch_event_id,
        touches.event_number,
        touches.source,
        touches.letter_id,
        touches.touched_at

    from conversions
    inner join touches
        on conversions.person_id = touches.person_id
            and touches.touched_at <= conversions.converted_at
    where touches.touched_at >= case conversions.conversion_type
        {%- for conversion_type, days in var('lookback_days').items() %}
        when '{{ conversion_type }}'
            then {{ add_seconds('conversions.converted_at', -86400 * days) }}
        {%- endfor %}
    end

),

touches_ranked as (

    select
        conversion_id,
        touch_event_id,
        letter_id,
        touched_at,
        row_number() over (
            partition by conversion_id
            order by touched_at, source, event_number, touch_event_id
        ) as touch_index,
        count(*) over (partition by conversion_id) as touch_count,
        {{ seconds_between('touched_at', 'max(touched_at) over (partition by conversion_id)') }}
            as seconds_before_last_touch

    from touches_in_window

)

select * from touches_ranked
