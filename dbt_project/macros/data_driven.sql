{#- The models of credit that look at all paths together: fct_attribution_data_driven. -#}
{% macro data_driven_models() -%}
    {{ return(['markov_1', 'markov_2', 'shapley']) }}
{%- endmacro %}

{#- What shares the credit of the data-driven models, as a column of a touch; see `data_driven_level`. -#}
{% macro data_driven_unit() -%}
    {%- set level = var('data_driven_level') -%}
    {%- if level not in ['campaign', 'channel'] -%}
        {{ exceptions.raise_compiler_error("data_driven_level is 'campaign' or 'channel', not '" ~ level ~ "'") }}
    {%- endif -%}
    coalesce({{ level }}, 'unknown')
{%- endmacro %}

{#- Whether the data-driven models credit conversions of this type. -#}
{% macro is_data_driven(conversion_type) -%}
    {{ conversion_type }} in ('{{ var('data_driven_conversion_types') | join("', '") }}')
{%- endmacro %}

{#- The lookback of a row's conversion type in seconds; null for a type without one. -#}
{% macro lookback_seconds(conversion_type) -%}
    case {{ conversion_type }}
        {%- for name, days in var('lookback_days').items() %}
        when '{{ name }}' then {{ 86400 * days }}
        {%- endfor %}
    end
{%- endmacro %}

{#- The middle value of `expression` in its group, between the two middle ones if there are two. -#}
{% macro median(expression) -%}
    {{ return(adapter.dispatch('median')(expression)) }}
{%- endmacro %}

{% macro default__median(expression) -%}
    percentile_cont(0.5) within group (order by {{ expression }})
{%- endmacro %}

{#- How many units `conversions_ahead` takes out side by side; a type with more of them takes several rows per state. -#}
{% macro removals_per_row() -%}
    {{ return(64) }}
{%- endmacro %}

{#- The row of a unit's removal among those of its conversion type, from 0, and its column in it, from 1. -#}
{% macro removal_row(unit_number) -%}
    floor(({{ unit_number }} - 1) / {{ removals_per_row() }})
{%- endmacro %}

{% macro removal_column(unit_number) -%}
    ({{ unit_number }} - 1) % {{ removals_per_row() }} + 1
{%- endmacro %}

{#-
    For every state of all chains, how likely it is to convert from there, with all units there (ahead_0) and with each of the
    units `removal_row` * removals_per_row() + 1, + 2 … taken out (ahead_1, ahead_2 …; 0 in a state of that unit). In units of
    2^-50, whole numbers: such sums are exact, so the order of adding cannot matter. A query with the columns state, removal_row
    and ahead_0 …; `ends` has a row for each state, removal row and unit (state, removal_row, own_column, conversion_share), `moves` one for
    each step of a chain and removal row (state, removal_row, own_column, next_state, share); own_column is 0 where the state's unit
    is not among those of the row.

    Round by round: who converts at once, after one step, after two … until that is less than `markov_cutoff`. A row costs the
    database more than a column, so removals stand side by side.

    A database without this kind of recursion (an aggregate over the round before) needs its own version.
-#}
{% macro conversions_ahead(ends, moves) -%}
    {{ return(adapter.dispatch('conversions_ahead')(ends, moves)) }}
{%- endmacro %}

{% macro default__conversions_ahead(ends, moves) -%}
    {%- set columns = range(1, removals_per_row() + 1) -%}
    {%- set unit = 2 ** 50 -%}
    with recursive rounds as (

        select
            state,
            removal_row,
            1 as round_number,
            round(cast(conversion_share * {{ unit }} as double precision)) as ahead_0
            {%- for column in columns %},
            case when own_column = {{ column }} then 0 else round(cast(conversion_share * {{ unit }} as double precision)) end as ahead_{{ column }}
            {%- endfor %}

        from {{ ends }}
        where conversion_share > 0

        union all

        select
            state,
            removal_row,
            round_number,
            ahead_0
            {%- for column in columns %},
            case when own_column = {{ column }} then 0 else ahead_{{ column }} end
            {%- endfor %}

        from (
            select
                state,
                removal_row,
                own_column,
                max(round_number) as round_number,
                sum(ahead_0) as ahead_0
                {%- for column in columns %},
                sum(ahead_{{ column }}) as ahead_{{ column }}
                {%- endfor %}

            -- an aggregate may not stand beside the recursive reference, one level above it may
            from (
                select
                    moves.state,
                    moves.removal_row,
                    moves.own_column,
                    rounds.round_number + 1 as round_number,
                    round(moves.share * rounds.ahead_0) as ahead_0
                    {%- for column in columns %},
                    round(moves.share * rounds.ahead_{{ column }}) as ahead_{{ column }}
                    {%- endfor %}

                from rounds
                inner join {{ moves }} as moves
                    on rounds.state = moves.next_state
                        and rounds.removal_row = moves.removal_row
                where rounds.round_number < {{ var('markov_rounds') }}
            ) as onward
            group by
                state,
                removal_row,
                own_column
        ) as summed
        where ahead_0 >= {{ var('markov_cutoff') }} * {{ unit }}

    )

    select
        state,
        removal_row,
        sum(ahead_0) as ahead_0
        {%- for column in columns %},
        sum(ahead_{{ column }}) as ahead_{{ column }}
        {%- endfor %}

    from rounds
    group by
        state,
        removal_row
{%- endmacro %}

{#-
    A pre-hook of the models that hold people's paths: drops those of the people who changed since the model was built, so that the
    new ones take their place, and those of people without touches go too.
-#}
{% macro drop_changed_people() -%}
    {%- if execute and is_incremental() -%}
        {%- set since = incremental_since() -%}
        delete from {{ this }}
        {% if since -%}
        where person_id in (select person_id from {{ ref('int_path_people') }} where _built_at > {{ since }})
        {%- endif %}
    {%- endif -%}
{%- endmacro %}
