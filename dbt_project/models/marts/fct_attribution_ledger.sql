{#-
    What was credited when. A credit that changes is not changed: its row ends at the run's time and the new one begins there. A run
    looks only at conversions whose inputs changed since the last one, and writes only rows that differ, so any sequence of runs
    leaves as its open rows what a first run over the same data would.

    A run whose time lies before an answer already given (a repeated run) continues from that answer's time: no period runs backwards.
    What is replaced within one run time was never the answer of any time, so its row goes, or stays as a period without length.
-#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key=['conversion_id', 'model', 'touch_index', 'valid_from'],
    full_refresh=false,
    on_schema_change='append_new_columns',
    indexes=[
        {'columns': ['conversion_id', 'model', 'touch_index', 'valid_from'], 'unique': true},
        {'columns': ['_built_at']},
    ]
) }}

{%- set since = incremental_since() -%}
{%- set key = ['conversion_id', 'model', 'touch_index'] -%}
{%- set answer = [
    'conversion_type', 'letter_id', 'campaign', 'channel', 'touch_type', 'touch_event_id', 'touched_at', 'link_tier',
    'converted_at', 'touch_count', 'credit', 'amount', 'no_touch_reason',
] -%}
{%- set touch_columns = [
    'conversion_id', 'conversion_type', 'letter_id', 'campaign', 'channel', 'touch_type', 'touch_event_id', 'touched_at',
    'link_tier', 'converted_at', 'touch_index', 'touch_count',
] %}

with inputs as (

    select * from {{ ref('int_conversion_inputs') }}
    {%- if since %}
    where _built_at > {{ since }}
    {%- endif %}

),

all_conversions as (

    select * from {{ ref('int_conversion_changes') }}
    where not is_gone

),

all_touches_ranked as (

    select * from {{ ref('int_touches_ranked') }}

),

position_shares as (

    select * from {{ ref('attribution_position_shares') }}

),

shares as (

    {{ attribution_shares('position_shares') }}

),

conversions as (

    select
        all_conversions.conversion_id,
        all_conversions.conversion_type,
        all_conversions.person_id,
        all_conversions.converted_at,
        all_conversions.amount,
        inputs.first_sent_at,
        inputs.first_touched_at

    from all_conversions
    inner join inputs
        on all_conversions.conversion_id = inputs.conversion_id
    where not inputs.is_gone

),

touches_ranked as (

    select
        all_touches_ranked.*,
        conversions.conversion_type,
        conversions.converted_at,
        conversions.amount

    from all_touches_ranked
    inner join conversions
        on all_touches_ranked.conversion_id = conversions.conversion_id

),

{{ attribution_credit_ctes('touches_ranked', 'shares', touch_columns) }},

untouched_conversions as (

    select conversions.*
    from conversions
    left join all_touches_ranked
        on conversions.conversion_id = all_touches_ranked.conversion_id
            and all_touches_ranked.touch_index = 1
    where all_touches_ranked.conversion_id is null

),

untouched_reasons as (

    select
        *,
        case
            when person_id is null
                then 'person_unknown'
            when first_sent_at is null or first_sent_at > converted_at
                then 'no_letter_before'
            when first_touched_at is null or first_touched_at > converted_at
                then 'no_touch_before'
            else 'outside_lookback'
        end as no_touch_reason

    from untouched_conversions

),

untouched_credits as (

    {%- for model in attribution_models() %}
    select
        conversion_id,
        conversion_type,
        cast(null as {{ dbt.type_string() }}) as letter_id,
        cast(null as {{ dbt.type_string() }}) as campaign,
        cast(null as {{ dbt.type_string() }}) as channel,
        cast(null as {{ dbt.type_string() }}) as touch_type,
        cast(null as {{ dbt.type_string() }}) as touch_event_id,
        {{ no_time() }} as touched_at,
        cast(null as {{ dbt.type_string() }}) as link_tier,
        converted_at,
        0 as touch_index,
        0 as touch_count,
        '{{ model }}' as model,
        1 as credit,
        amount as credited_amount,
        no_touch_reason
    from untouched_reasons
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

all_credits as (

    select
        *,
        cast(null as {{ dbt.type_string() }}) as no_touch_reason
    from touches_credited
    union all
    select * from untouched_credits

),

credits as (

    select
        conversion_id,
        conversion_type,
        model,
        letter_id,
        campaign,
        channel,
        touch_type,
        touch_event_id,
        touched_at,
        link_tier,
        converted_at,
        cast(touch_index as integer) as touch_index,
        cast(touch_count as integer) as touch_count,
        cast(credit as numeric(12, 10)) as credit,
        cast(credited_amount as numeric(18, 2)) as amount,
        no_touch_reason

    from all_credits

),

{%- if is_incremental() %}

history as (

    select * from {{ this }}
    {%- if since %}
    where {{ among('conversion_id', 'select conversion_id from inputs') }}
    {%- else %}
    where conversion_id in (select conversion_id from inputs)
    {%- endif %}

),

open_rows as (

    select * from history
    where valid_to is null

),

latest_changes as (

    select
        conversion_id,
        max(coalesce(valid_to, valid_from)) as changed_at

    from history
    group by conversion_id

),

moments as (

    select
        inputs.conversion_id,
        case
            when latest_changes.changed_at > {{ run_at() }} then latest_changes.changed_at
            else {{ run_at() }}
        end as moment

    from inputs
    left join latest_changes
        on inputs.conversion_id = latest_changes.conversion_id

),

opened as (

    select
        {%- for column in key + answer %}
        credits.{{ column }},
        {%- endfor %}
        moments.moment as valid_from,
        {{ no_time() }} as valid_to

    from credits
    inner join moments
        on credits.conversion_id = moments.conversion_id
    left join open_rows
        on credits.conversion_id = open_rows.conversion_id
            and credits.model = open_rows.model
            and credits.touch_index = open_rows.touch_index
    where open_rows.conversion_id is null
        or {{ rows_differ('open_rows', 'credits', answer) }}

),

closed as (

    select
        {%- for column in key + answer %}
        open_rows.{{ column }},
        {%- endfor %}
        open_rows.valid_from,
        moments.moment as valid_to

    from open_rows
    inner join moments
        on open_rows.conversion_id = moments.conversion_id
    left join credits
        on open_rows.conversion_id = credits.conversion_id
            and open_rows.model = credits.model
            and open_rows.touch_index = credits.touch_index
    where credits.conversion_id is null
        or (open_rows.valid_from < moments.moment and {{ rows_differ('open_rows', 'credits', answer) }})

),

versions as (

    select * from opened
    union all
    select * from closed

),

{%- else %}

versions as (

    select
        {%- for column in key + answer %}
        {{ column }},
        {%- endfor %}
        {{ run_at() }} as valid_from,
        {{ no_time() }} as valid_to

    from credits

),

{%- endif %}

final as (

    select
        conversion_id || ':' || model || ':' || touch_index as credit_id,
        conversion_id,
        conversion_type,
        model,
        letter_id,
        campaign,
        channel,
        touch_type,
        touch_event_id,
        touched_at,
        link_tier,
        converted_at,
        touch_index,
        touch_count,
        credit,
        amount,
        no_touch_reason,
        valid_from,
        valid_to,
        {{ built_at() }} as _built_at

    from versions

)

select * from final
