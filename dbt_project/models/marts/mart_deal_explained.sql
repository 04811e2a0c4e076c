{#- A view: it is asked for one deal at a time, and the whole of it would repeat most of fct_email_events. -#}
{{ config(materialized='view') }}

with deals as (

    select
        deal_id,
        person_id,
        created_at,
        won_at,
        {{ add_seconds('created_at', -86400 * var('lookback_days')['deal_won']) }} as story_from,
        coalesce(won_at, {{ run_at() }}) as story_to

    from {{ ref('int_deals') }}

),

email_events as (

    select * from {{ ref('fct_email_events') }}

),

conversions as (

    select * from {{ ref('fct_conversions') }}

),

stage_changes as (

    select * from {{ ref('stg_bitrix__deal_stage_changes') }}

),

letters as (

    select * from {{ ref('dim_letter') }}

),

credits as (

    select * from {{ ref('fct_attribution_credits') }}

),

letter_steps as (

    select
        deals.deal_id,
        'letter_' || email_events.event_type as step,
        email_events.occurred_at as happened_at,
        email_events.event_id as step_reference,
        email_events.letter_id,
        cast(null as {{ dbt.type_string() }}) as stage_code,
        cast(null as numeric) as amount

    from deals
    inner join email_events
        on deals.person_id = email_events.person_id
            and email_events.occurred_at >= deals.story_from
            and email_events.occurred_at <= deals.story_to
    where not email_events.is_machine

),

-- what the person did besides
person_steps as (

    select
        deals.deal_id,
        conversions.conversion_type as step,
        conversions.converted_at as happened_at,
        conversions.conversion_id as step_reference,
        conversions.linked_letter_id as letter_id,
        cast(null as {{ dbt.type_string() }}) as stage_code,
        conversions.amount

    from deals
    inner join conversions
        on deals.person_id = conversions.person_id
            and conversions.converted_at >= deals.story_from
            and conversions.converted_at <= deals.story_to
    where conversions.conversion_type not in ('deal_created', 'deal_won')

),

own_steps as (

    select
        deal_id,
        conversion_type as step,
        converted_at as happened_at,
        conversion_id as step_reference,
        linked_letter_id as letter_id,
        cast(null as {{ dbt.type_string() }}) as stage_code,
        amount

    from conversions
    where conversion_type in ('deal_created', 'deal_won')

),

-- the step that won the deal for good is told as its conversion
stage_steps as (

    select
        deals.deal_id,
        'stage_' || stage_changes.change_type as step,
        stage_changes.changed_at as happened_at,
        'stage_change:' || stage_changes.stage_change_id as step_reference,
        cast(null as {{ dbt.type_string() }}) as letter_id,
        stage_changes.stage_code,
        cast(null as numeric) as amount

    from deals
    inner join stage_changes
        on deals.deal_id = stage_changes.deal_id
    where stage_changes.change_type <> 'created'
        and not (stage_changes.change_type = 'won' and coalesce(stage_changes.changed_at = deals.won_at, false))

),

steps as (

    select * from letter_steps
    union all
    select * from person_steps
    union all
    select * from own_steps
    union all
    select * from stage_steps

),

{#- Joined row by row before they are put side by side, so that for one deal the ledger is asked by its key. #}
credited_steps as (

    select
        steps.deal_id,
        steps.step,
        steps.happened_at,
        steps.step_reference,
        steps.letter_id,
        steps.stage_code,
        steps.amount,
        {%- for model in attribution_models() %}
        sum(case when credits.model = '{{ model }}' then credits.credit end) as credit_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from steps
    left join credits
        on credits.conversion_id = 'deal_won:' || steps.deal_id
            and credits.touch_event_id = steps.step_reference
    group by
        steps.deal_id,
        steps.step,
        steps.happened_at,
        steps.step_reference,
        steps.letter_id,
        steps.stage_code,
        steps.amount

),

final as (

    select
        credited_steps.deal_id || ':' || credited_steps.step_reference as deal_step_id,
        credited_steps.deal_id,
        cast(
            row_number() over (
                partition by credited_steps.deal_id
                order by
                    credited_steps.happened_at,
                    credited_steps.step_reference
            ) as integer
        ) as step_number,
        credited_steps.happened_at,
        credited_steps.step,
        credited_steps.step_reference,
        credited_steps.letter_id,
        letters.title as letter_title,
        credited_steps.stage_code,
        cast(credited_steps.amount as numeric(18, 2)) as amount,
        {%- for model in attribution_models() %}
        cast(credited_steps.credit_{{ model }} as numeric(12, 10)) as credit_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from credited_steps
    left join letters
        on credited_steps.letter_id = letters.letter_id

)

select * from final
