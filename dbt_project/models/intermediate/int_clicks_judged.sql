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

clicks as (

    select
        *,
        {{ seconds_between('sent_at', 'occurred_at') }} as seconds_after_send

    from {{ ref('int_clicks') }}
    {%- if since %}
    where {{ among('message_key', 'select message_key from changed_messages') }}
    {%- endif %}

),

domain_bursts as (

    select * from {{ ref('int_domain_bursts') }}
    where not is_gone

),

-- a person who follows one link cannot be a burst; this leaves few messages for the self-join
messages_with_several_links as (

    select message_id
    from clicks
    where message_id is not null
    group by message_id
    having count(distinct url) >= 2

),

candidates as (

    select distinct
        clicks.message_id,
        clicks.sent_at,
        clicks.occurred_at,
        clicks.url,
        case when {{ is_unsubscribe_link('clicks.url') }} then 1 else 0 end as is_unsubscribe_link

    from clicks
    inner join messages_with_several_links
        on clicks.message_id = messages_with_several_links.message_id

),

windows as (

    select
        starts.message_id,
        starts.sent_at,
        starts.occurred_at as started_at,
        max(candidates.occurred_at) as ended_at,
        count(distinct candidates.url) as link_count,
        count(distinct case
            when candidates.occurred_at <= {{ add_seconds('starts.occurred_at', var('doubtful_links_seconds')) }}
                then candidates.url
        end) as quick_link_count,
        max(candidates.is_unsubscribe_link) as has_unsubscribe_link

    from (select distinct message_id, sent_at, occurred_at from candidates) as starts
    inner join candidates
        on starts.message_id = candidates.message_id
            and candidates.occurred_at >= starts.occurred_at
            and candidates.occurred_at <= {{ add_seconds('starts.occurred_at', var('scanner_window_seconds')) }}
    group by
        starts.message_id,
        starts.sent_at,
        starts.occurred_at

),

bursts as (

    select
        *,
        case
            when link_count >= {{ var('scanner_links') }}
                then 1
            when link_count >= 2 and has_unsubscribe_link = 1
                then 2
            when link_count >= {{ var('scanner_click_links') }}
                and started_at <= {{ add_seconds('sent_at', var('scanner_click_seconds')) }}
                then 3
            when quick_link_count >= 2
                then 4
        end as rule_rank

    from windows

),

-- of overlapping bursts the strongest rule speaks, and the one with most links
burst_clicks as (

    select
        clicks.event_id,
        min(bursts.rule_rank) as rule_rank,
        max(bursts.link_count) as link_count,
        max(bursts.quick_link_count) as quick_link_count

    from clicks
    inner join bursts
        on clicks.message_id = bursts.message_id
            and clicks.occurred_at >= bursts.started_at
            and clicks.occurred_at <= case
                when bursts.rule_rank = 4
                    then {{ add_seconds('bursts.started_at', var('doubtful_links_seconds')) }}
                else bursts.ended_at
            end
    where bursts.rule_rank is not null
    group by clicks.event_id

),

domain_burst_clicks as (

    select
        clicks.event_id,
        max(case when domain_bursts.verdict = 'machine' then 1 else 0 end) as is_machine,
        max(domain_bursts.message_count) as burst_count,
        max(domain_bursts.delivered_count) as burst_size

    from clicks
    inner join domain_bursts
        on clicks.dispatch_key = domain_bursts.dispatch_key
            and clicks.email_domain = domain_bursts.email_domain
            and clicks.occurred_at >= domain_bursts.started_at
            and clicks.occurred_at <= domain_bursts.ended_at
    where clicks.message_id is not null
    group by clicks.event_id

),

ruled as (

    select
        clicks.*,
        burst_clicks.link_count,
        burst_clicks.quick_link_count,
        domain_burst_clicks.burst_count,
        domain_burst_clicks.burst_size,
        case
            when clicks.is_proxy_click
                then 'esp_proxy_flag'
            when burst_clicks.rule_rank = 1
                then 'scanner_many_links'
            when burst_clicks.rule_rank = 2
                then 'scanner_unsubscribe_link'
            when burst_clicks.rule_rank = 3
                then 'scanner_instant_links'
            when domain_burst_clicks.is_machine = 1
                then 'domain_burst'
            when domain_burst_clicks.is_machine = 0
                then 'part_of_domain_burst'
            when burst_clicks.rule_rank = 4
                then 'links_at_once'
            -- an ESP that knows its proxies says more than the clock
            when clicks.is_proxy_click is null
                and clicks.seconds_after_send <= {{ var('doubtful_click_seconds') }}
                then 'clicked_at_once'
        end as verdict_rule

    from clicks
    left join burst_clicks
        on clicks.event_id = burst_clicks.event_id
    left join domain_burst_clicks
        on clicks.event_id = domain_burst_clicks.event_id

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
        url,
        {{ verdict_columns(click_rules()) }}

    from ruled

)

select
    judged.*,
    verdict = 'machine' as is_machine,
    {{ built_at() }} as _built_at

from judged
