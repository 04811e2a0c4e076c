{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with transitions as (

    select * from {{ ref('int_markov_transitions') }}

),

removal_rows as (

    select distinct
        conversion_type,
        {{ removal_row('unit_number') }} as removal_row

    from transitions

),

placed as (

    select
        transitions.state,
        transitions.next_state,
        removal_rows.removal_row,
        case
            when {{ removal_row('transitions.unit_number') }} = removal_rows.removal_row
                then {{ removal_column('transitions.unit_number') }}
            else 0
        end as own_column,
        cast(transitions.share as {{ dbt.type_float() }}) as share,
        cast(transitions.conversion_share as {{ dbt.type_float() }}) as conversion_share

    from transitions
    inner join removal_rows
        on transitions.conversion_type = removal_rows.conversion_type

),

ends as (

    select * from placed
    where next_state is null

),

moves as (

    select * from placed
    where next_state is not null

),

ahead as (

    {{ conversions_ahead('ends', 'moves') }}

),

-- what would be lost without a unit are the conversions of all paths that were there, each counted by its last stay: it converts
-- at once, or goes on and converts without coming back
converted_at_once as (

    select
        model,
        conversion_type,
        unit_id,
        sum(conversion_count) as conversion_count

    from transitions
    group by
        model,
        conversion_type,
        unit_id

),

converted_later as (

    select
        transitions.model,
        transitions.unit_id,
        sum(
            cast(transitions.path_count as numeric) * cast(
                case {{ removal_column('transitions.unit_number') }}
                    {%- for column in range(1, removals_per_row() + 1) %}
                    when {{ column }} then ahead.ahead_{{ column }}
                    {%- endfor %}
                end as bigint
            )
        ) / {{ 2 ** 50 }} as conversion_count

    from transitions
    inner join ahead
        on transitions.next_state = ahead.state
            and {{ removal_row('transitions.unit_number') }} = ahead.removal_row
    where transitions.next_unit_id <> transitions.unit_id
    group by
        transitions.model,
        transitions.unit_id

),

-- with nothing taken out, the conversions ahead of all starts must be all conversions; what is missing was cut off
visits as (

    select
        model,
        conversion_type,
        state,
        path_count as left_count,
        0 as entered_count

    from transitions

    union all

    select
        model,
        conversion_type,
        next_state as state,
        0 as left_count,
        path_count as entered_count

    from transitions
    where next_state is not null

),

starts as (

    select
        model,
        conversion_type,
        state,
        sum(left_count) - sum(entered_count) as path_count

    from visits
    group by
        model,
        conversion_type,
        state

),

followed as (

    select
        starts.model,
        starts.conversion_type,
        sum(cast(starts.path_count as numeric) * cast(ahead.ahead_0 as bigint)) / {{ 2 ** 50 }} as conversion_count

    from starts
    inner join ahead
        on starts.state = ahead.state
            and ahead.removal_row = 0
    group by
        starts.model,
        starts.conversion_type

),

chains as (

    select
        model,
        conversion_type,
        sum(conversion_count) as conversion_count

    from transitions
    group by
        model,
        conversion_type

),

removals as (

    select
        converted_at_once.model,
        converted_at_once.conversion_type,
        converted_at_once.unit_id,
        chains.conversion_count,
        chains.conversion_count - coalesce(followed.conversion_count, 0) as unfollowed_conversions,
        converted_at_once.conversion_count + coalesce(converted_later.conversion_count, 0) as lost_conversions

    from converted_at_once
    inner join chains
        on converted_at_once.model = chains.model
            and converted_at_once.conversion_type = chains.conversion_type
    left join converted_later
        on converted_at_once.model = converted_later.model
            and converted_at_once.unit_id = converted_later.unit_id
    left join followed
        on converted_at_once.model = followed.model
            and converted_at_once.conversion_type = followed.conversion_type

),

final as (

    select
        model,
        conversion_type,
        unit_id,
        conversion_count,
        cast(lost_conversions as numeric(28, 12)) as lost_conversions,
        cast(lost_conversions / nullif(conversion_count, 0) as numeric(13, 12)) as removal_effect,
        cast(unfollowed_conversions as numeric(28, 12)) as unfollowed_conversions

    from removals

)

select * from final
