with opens as (

    select
        *,
        {{ seconds_between('sent_at', 'occurred_at') }} as seconds_after_send

    from {{ ref('int_opens') }}

),

bursts as (

    select * from {{ ref('int_scanner_bursts') }}

),

human_clicks as (

    select * from {{ ref('int_clicks_judged') }}
    where not is_machine

),

-- whoever fetched all links also fetched the picture, a moment before or after
burst_opens as (

    select distinct opens.event_id

    from opens
    inner join bursts
        on opens.message_id = bursts.message_id
            and opens.occurred_at >= {{ add_seconds('bursts.started_at', '-' ~ var('scanner_window_seconds')) }}
            and opens.occurred_at <= {{ add_seconds('bursts.ended_at', var('scanner_window_seconds')) }}

),

opens_before_a_human_click as (

    select distinct opens.event_id

    from opens
    inner join human_clicks
        on opens.message_id = human_clicks.message_id
            and human_clicks.occurred_at >= opens.occurred_at
            and human_clicks.occurred_at <= {{ add_seconds('opens.occurred_at', var('human_click_seconds')) }}
    where opens.seconds_after_send <= {{ var('machine_open_seconds') }}

),

verdicts as (

    select
        opens.*,
        case
            when opens.is_proxy_open
                then 'esp_proxy_flag'
            when burst_opens.event_id is not null
                then 'scanner_open'
            -- the ESP's own flag, where there is one, is better than the clock
            when opens.is_proxy_open is null
                and opens.seconds_after_send <= {{ var('machine_open_seconds') }}
                and opens_before_a_human_click.event_id is null
                then 'opened_at_once'
        end as machine_rule

    from opens
    left join burst_opens
        on opens.event_id = burst_opens.event_id
    left join opens_before_a_human_click
        on opens.event_id = opens_before_a_human_click.event_id

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
        machine_rule is not null as is_machine,
        machine_rule,
        case machine_rule
            when 'esp_proxy_flag'
                then 'the ESP says that a proxy loaded the picture'
            when 'scanner_open'
                then 'loaded together with a scanner''s burst of clicks'
            when 'opened_at_once'
                then cast(seconds_after_send as integer)
                    || ' s after the send, no human click within {{ var("human_click_seconds") }} s'
        end as machine_reason

    from verdicts

)

select * from judged
