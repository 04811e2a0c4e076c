{{ config(
    materialized='incremental',
    incremental_strategy='append',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[
        {'columns': ['message_key'], 'unique': true},
        {'columns': ['dispatch_key']},
        {'columns': ['person_id']},
        {'columns': ['_built_at']},
    ],
    pre_hook=[
        "{{ plan_for_bulk(always=true) }}",
        "{{ drop_changed_rows('int_message_changes', 'verdict_version', verdict_version()) }}",
    ],
    post_hook="{{ refresh_statistics(this) }}"
) }}
{%- set since = incremental_since('verdict_version', verdict_version()) -%}

with changed_messages as (

    select distinct
        message_key,
        recipient_id

    from {{ ref('int_message_changes') }}
    where {{ newer_than(since) }}

),

messages as (

    select * from {{ ref('int_messages') }}
    {%- if since %}
    where {{ among('message_key', 'select message_key from changed_messages') }}
    {%- endif %}

),

opens as (

    select * from {{ ref('int_opens_judged') }}
    where message_id is not null
    {%- if since %}
        and {{ among('message_key', 'select message_key from changed_messages') }}
    {%- endif %}

),

clicks as (

    select * from {{ ref('int_clicks_judged') }}
    where message_id is not null
    {%- if since %}
        and {{ among('message_key', 'select message_key from changed_messages') }}
    {%- endif %}

),

unsubscribes as (

    select * from {{ ref('stg_bitrix__unsubscribes') }}
    where not is_deleted
        and {{
            among('recipient_id', 'select recipient_id from changed_messages where recipient_id is not null')
            if since else 'recipient_id is not null'
        }}

),

complaints as (

    select * from {{ ref('int_bitrix_complaints') }}
    where not is_gone
        and message_id is not null

),

esp_departures as (

    select * from {{ ref('int_esp_events') }}
    where event_type in ('unsubscribed', 'complained')
        and not is_gone
        and message_id is not null
    {%- if since %}
        and {{ among('message_key', 'select message_key from changed_messages') }}
    {%- endif %}

),

open_outcomes as (

    select
        message_key,
        count(*) as open_count,
        min(occurred_at) as first_opened_at,
        min(case when verdict = 'human' then occurred_at end) as first_human_opened_at,
        max(case when verdict = 'human' then occurred_at end) as last_human_opened_at,
        max(case verdict when 'human' then 3 when 'doubtful' then 2 else 1 end) as open_grade

    from opens
    group by message_key

),

click_outcomes as (

    select
        message_key,
        count(*) as click_count,
        min(occurred_at) as first_clicked_at,
        min(case when verdict = 'human' then occurred_at end) as first_human_clicked_at,
        max(case when verdict = 'human' then occurred_at end) as last_human_clicked_at,
        max(case verdict when 'human' then 3 when 'doubtful' then 2 else 1 end) as click_grade

    from clicks
    group by message_key

),

departures as (

    select
        'bitrix:' || recipient_id as message_key,
        'unsubscribed' as event_type
    from unsubscribes

    union all

    select
        message_id,
        'complained'
    from complaints

    union all

    select
        message_key,
        event_type
    from esp_departures

),

departure_outcomes as (

    select
        message_key,
        max(case when event_type = 'unsubscribed' then 1 else 0 end) as has_unsubscribed,
        max(case when event_type = 'complained' then 1 else 0 end) as has_complained

    from departures
    {%- if since %}
    where message_key in (select message_key from changed_messages)
    {%- endif %}
    group by message_key

),

outcomes as (

    select
        messages.message_key,
        messages.message_id,
        messages.source,
        messages.dispatch_key,
        messages.letter_id,
        messages.person_id,
        messages.email_domain,
        messages.sent_at,
        messages.is_sent,
        messages.is_delivered,
        messages.is_bounced,
        messages.bounce_kind,
        messages.is_policy_bounce,
        {%- for act, done in {'open': 'opened', 'click': 'clicked'}.items() %}
        coalesce({{ act }}_outcomes.{{ act }}_count, 0) as {{ act }}_count,
        {{ act }}_outcomes.first_{{ done }}_at,
        {{ act }}_outcomes.first_human_{{ done }}_at,
        {{ act }}_outcomes.last_human_{{ done }}_at,
        case {{ act }}_outcomes.{{ act }}_grade
            when 3 then 'human'
            when 2 then 'doubtful'
            when 1 then 'machine'
        end as {{ done }}_by,
        {%- endfor %}
        coalesce(departure_outcomes.has_unsubscribed = 1, false) as has_unsubscribed,
        coalesce(departure_outcomes.has_complained = 1, false) as has_complained,
        {{ verdict_version() }} as verdict_version

    from messages
    left join open_outcomes
        on messages.message_key = open_outcomes.message_key
    left join click_outcomes
        on messages.message_key = click_outcomes.message_key
    left join departure_outcomes
        on messages.message_key = departure_outcomes.message_key

)

select
    outcomes.*,
    {{ built_at() }} as _built_at

from outcomes
