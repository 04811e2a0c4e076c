{{ config(
    materialized='incremental',
    incremental_strategy='append',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['message_key']}, {'columns': ['_built_at']}],
    pre_hook=[
        "{{ plan_for_bulk(always=true) }}",
        "{{ drop_changed_rows('int_message_changes', 'verdict_version', verdict_version()) }}",
    ],
    post_hook="{{ refresh_statistics(this) }}"
) }}
{%- set since = incremental_since('verdict_version', verdict_version()) -%}

with changed_messages as (

    select distinct message_key
    from {{ ref('int_message_changes') }}
    where {{ newer_than(since) }}

),

opens as (

    select
        *,
        {{ seconds_between('sent_at', 'occurred_at') }} as seconds_after_send

    from {{ ref('int_opens') }}
    {%- if since %}
    where {{ among('message_key', 'select message_key from changed_messages') }}
    {%- endif %}

),

clicks as (

    select * from {{ ref('int_clicks_judged') }}
    where message_id is not null
    {%- if since %}
        and {{ among('message_key', 'select message_key from changed_messages') }}
    {%- endif %}

),

-- whoever fetched all links also fetched the picture, a moment before or after
scanner_opens as (

    select distinct opens.event_id

    from opens
    inner join clicks
        on opens.message_id = clicks.message_id
            and opens.occurred_at >= {{ add_seconds('clicks.occurred_at', '-' ~ var('scanner_window_seconds')) }}
            and opens.occurred_at <= {{ add_seconds('clicks.occurred_at', var('scanner_window_seconds')) }}
    where clicks.is_machine
        and clicks.verdict_rule <> 'esp_proxy_flag'

),

opens_before_a_human_click as (

    select distinct opens.event_id

    from opens
    inner join clicks
        on opens.message_id = clicks.message_id
            and clicks.occurred_at >= opens.occurred_at
            and clicks.occurred_at <= {{ add_seconds('opens.occurred_at', var('human_click_seconds')) }}
    where clicks.verdict = 'human'
        and opens.seconds_after_send <= {{ var('doubtful_open_seconds') }}

),

ruled as (

    select
        opens.*,
        case
            when opens.is_proxy_open
                then 'esp_proxy_flag'
            when scanner_opens.event_id is not null
                then 'scanner_open'
            -- the ESP's own flag, where there is one, is better than the clock
            when opens.is_proxy_open is not null
                or opens_before_a_human_click.event_id is not null
                then null
            when opens.seconds_after_send <= {{ var('machine_open_seconds') }}
                then 'opened_at_once'
            when opens.seconds_after_send <= {{ var('doubtful_open_seconds') }}
                then 'opened_early'
        end as verdict_rule

    from opens
    left join scanner_opens
        on opens.event_id = scanner_opens.event_id
    left join opens_before_a_human_click
        on opens.event_id = opens_before_a_human_click.event_id

),

judged as (

    select
        event_id,
        event_number,
        source,
        message_key,
        message_id,
        dispatch_key,
        letter_id,
        person_id,
        occurred_at,
        {{ verdict_columns(open_rules()) }}

    from ruled

)

select
    judged.*,
    verdict = 'machine' as is_machine,
    {{ built_at() }} as _built_at

from judged
