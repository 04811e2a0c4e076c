{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with clicks as (

    select * from {{ ref('int_clicks') }}

),

bursts as (

    select * from {{ ref('int_scanner_bursts') }}

),

burst_clicks as (

    select
        clicks.event_id,
        -- of overlapping bursts the one with most links speaks
        max(bursts.link_count) as link_count,
        max(bursts.machine_rule) as machine_rule

    from clicks
    inner join bursts
        on clicks.message_id = bursts.message_id
            and clicks.occurred_at >= bursts.started_at
            and clicks.occurred_at <= bursts.ended_at
    group by clicks.event_id

),

verdicts_given as (

    select
        clicks.*,
        case
            when clicks.is_proxy_click
                then 'esp_proxy_flag'
            else burst_clicks.machine_rule
        end as machine_rule,
        burst_clicks.link_count

    from clicks
    left join burst_clicks
        on clicks.event_id = burst_clicks.event_id

),

judged as (

    select
        event_id,
        event_number,
        source,
        message_id,
        letter_id,
        person_id,
        occurred_at,
        url,
        machine_rule is not null as is_machine,
        machine_rule,
        case machine_rule
            when 'esp_proxy_flag'
                then 'the ESP says that a machine followed the link'
            when 'scanner_many_links'
                then link_count || ' different links within {{ var("scanner_window_seconds") }} s'
            when 'scanner_instant_links'
                then link_count || ' different links from within {{ var("scanner_click_seconds") }} s of the send'
        end as machine_reason

    from verdicts_given

)

select * from judged
