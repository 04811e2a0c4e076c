with letters as (

    select * from {{ ref('stg_relay__letters') }}

),

letter_events as (

    select * from {{ ref('stg_relay__letter_events') }}

),

email_events as (

    select * from {{ ref('fct_email_events') }}

),

told as (

    select
        letter_events.outbox_id,
        {%- for word in ['bounced', 'complained', 'opened', 'clicked'] %}
        max(case when letter_events.event_type = '{{ word }}' then 1 else 0 end) as has_{{ word }},
        {%- endfor %}
        {%- for word in ['opened', 'clicked'] %}
        max(
            case when letter_events.event_type = '{{ word }}' and email_events.verdict = 'human' then 1 else 0 end
        ) as has_human_{{ word }},
        {%- endfor %}
        -- tried again and taken after all
        coalesce(
            max(case when letter_events.event_type = 'delivered' then letter_events.occurred_at end)
            > max(case when letter_events.event_type = 'bounced' then letter_events.occurred_at end),
            false
        ) as is_taken_after_all

    from letter_events
    left join email_events
        on letter_events.event_id = email_events.event_id
    group by letter_events.outbox_id

),

judged as (

    select
        cast(letters.queued_at as date) as queued_on,
        letters.site_account,
        coalesce(letters.site_id, 'none') as site_id,
        letters.event_name,
        coalesce(letters.template_id, 'none') as template_id,
        coalesce(letters.account, 'none') as account,
        letters.state,
        letters.attempts,
        {{ seconds_between('letters.queued_at', 'letters.settled_at') }} as seconds_to_settle,
        letters.state = 'sent' and coalesce(told.has_bounced, 0) = 1 and not told.is_taken_after_all as is_bounced,
        {%- for word in ['complained', 'opened', 'clicked', 'human_opened', 'human_clicked'] %}
        letters.state = 'sent' and coalesce(told.has_{{ word }}, 0) = 1 as is_{{ word }}{{ ',' if not loop.last }}
        {%- endfor %}

    from letters
    left join told
        on letters.outbox_id = told.outbox_id

),

counted as (

    select
        queued_on,
        site_account,
        site_id,
        event_name,
        template_id,
        account,
        count(*) as letter_count,
        sum(case when state in ('queued', 'sending') then 1 else 0 end) as waiting_count,
        sum(case when state = 'sent' then 1 else 0 end) as sent_count,
        {%- for state in ['unknown', 'dead', 'suppressed'] %}
        sum(case when state = '{{ state }}' then 1 else 0 end) as {{ state }}_count,
        {%- endfor %}
        sum(case when attempts > 1 then 1 else 0 end) as retried_count,
        sum(case when state = 'sent' and not is_bounced then 1 else 0 end) as delivered_count,
        {%- for word in ['bounced', 'complained', 'opened', 'human_opened', 'clicked', 'human_clicked'] %}
        sum(case when is_{{ word }} then 1 else 0 end) as {{ word }}_count,
        {%- endfor %}
        cast(max(case when state = 'sent' then seconds_to_settle end) as numeric(12, 3)) as slowest_seconds

    from judged
    group by 1, 2, 3, 4, 5, 6

),

final as (

    select
        *,
        {{ rate('bounced_count', 'sent_count') }} as bounce_rate,
        {{ rate('human_opened_count', 'delivered_count') }} as human_open_rate,
        {{ rate('human_clicked_count', 'delivered_count') }} as human_click_rate

    from counted

)

select * from final
