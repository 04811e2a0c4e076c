{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    unlogged=false,
    indexes=[{'columns': ['conversion_id']}, {'columns': ['_built_at']}],
    pre_hook="{{ drop_changed_rows('int_conversion_inputs', key='conversion_id') }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set since = incremental_since() %}

with inputs as (

    select * from {{ ref('int_conversion_inputs') }}
    where not is_gone
        {%- if since %}
        and _built_at > {{ since }}
        {%- endif %}

),

conversions as (

    select * from {{ ref('int_conversion_changes') }}
    where not is_gone

),

touches as (

    select * from {{ ref('int_touch_changes') }}
    where not is_gone

),

touches_in_window as (

    select
        conversions.conversion_id,
        conversions.lead_created_at,
        conversions.deal_created_at,
        touches.touch_event_id,
        touches.event_number,
        touches.source,
        touches.letter_id,
        touches.touched_at,
        touches.touch_type,
        touches.channel,
        touches.campaign,
        touches.link_tier

    from conversions
    inner join inputs
        on conversions.conversion_id = inputs.conversion_id
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

touches_numbered as (

    select
        *,
        row_number() over (
            partition by conversion_id
            order by touched_at, source, event_number, touch_event_id
        ) as touch_index

    from touches_in_window

),

touches_ranked as (

    select
        conversion_id,
        touch_event_id,
        letter_id,
        touched_at,
        touch_type,
        channel,
        campaign,
        link_tier,
        touch_index,
        count(*) over (partition by conversion_id) as touch_count,
        {{ seconds_between('touched_at', 'max(touched_at) over (partition by conversion_id)') }}
            as seconds_before_last_touch,
        max(case when channel <> 'direct' then touch_index end) over (partition by conversion_id) as last_non_direct_index,
        max(case when touched_at <= lead_created_at then touch_index end) over (partition by conversion_id) as lead_touch_index,
        max(case when touched_at <= deal_created_at then touch_index end) over (partition by conversion_id) as deal_touch_index,
        {{ built_at() }} as _built_at

    from touches_numbered

)

select * from touches_ranked
