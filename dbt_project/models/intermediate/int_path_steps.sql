{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    unlogged=false,
    indexes=[{'columns': ['person_id']}, {'columns': ['path_id']}, {'columns': ['_built_at']}],
    pre_hook="{{ drop_changed_people() }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set since = incremental_since() %}

with people as (

    select * from {{ ref('int_path_people') }}
    where not is_gone
        {%- if since %}
        and _built_at > {{ since }}
        {%- endif %}

),

conversions as (

    select * from {{ ref('int_path_conversions') }}

),

touches_ranked as (

    select * from {{ ref('int_touches_ranked') }}

),

touch_units as (

    select * from {{ ref('int_touch_units') }}

),

conversion_types as (

    select distinct conversion_type
    from conversions

),

touches as (

    select touch_units.*
    from touch_units
    inner join people
        on touch_units.person_id = people.person_id

),

converting_touches as (

    select
        conversions.conversion_type,
        conversions.person_id,
        conversions.conversion_id,
        touches_ranked.touch_event_id,
        touches_ranked.touch_index,
        touches_ranked.letter_id,
        touches_ranked.touched_at,
        {{ data_driven_unit() }} as unit

    from people
    inner join conversions
        on people.person_id = conversions.person_id
    inner join touches_ranked
        on conversions.conversion_id = touches_ranked.conversion_id

),

other_touches as (

    select
        conversion_types.conversion_type,
        touches.*

    from touches
    cross join conversion_types
    left join converting_touches
        on conversion_types.conversion_type = converting_touches.conversion_type
            and touches.touch_event_id = converting_touches.touch_event_id
    where converting_touches.touch_event_id is null

),

-- a path without a conversion is at most one lookback long, as a path with one is
windows_numbered as (

    select
        *,
        floor(
            {{ seconds_between('min(touched_at) over (partition by conversion_type, person_id)', 'touched_at') }}
            / {{ lookback_seconds('conversion_type') }}
        ) as window_number

    from other_touches

),

{% set in_conversion = "partition by conversion_id order by touch_index" -%}
{% set in_window = "partition by conversion_type, person_id, window_number order by touched_at, source, event_number, touch_event_id" -%}

steps as (

    select
        conversion_id as path_id,
        conversion_type,
        person_id,
        conversion_id,
        touch_index as step,
        touch_event_id,
        unit,
        letter_id,
        touched_at,
        lag(unit, 1) over ({{ in_conversion }}) as previous_unit,
        lag(unit, 2) over ({{ in_conversion }}) as unit_before_previous

    from converting_touches

    union all

    select
        conversion_type || ':from:' || first_value(touch_event_id) over ({{ in_window }}) as path_id,
        conversion_type,
        person_id,
        cast(null as {{ dbt.type_string() }}) as conversion_id,
        row_number() over ({{ in_window }}) as step,
        touch_event_id,
        unit,
        letter_id,
        touched_at,
        lag(unit, 1) over ({{ in_window }}) as previous_unit,
        lag(unit, 2) over ({{ in_window }}) as unit_before_previous

    from windows_numbered

),

final as (

    select
        path_id,
        conversion_type,
        person_id,
        conversion_id,
        cast(step as integer) as step,
        touch_event_id,
        unit,
        letter_id,
        touched_at,
        coalesce(unit = previous_unit, false) as is_repeat,
        coalesce(unit = previous_unit and unit = unit_before_previous, false) as is_further_repeat,
        {{ built_at() }} as _built_at

    from steps

)

select * from final
