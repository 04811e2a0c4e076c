with letters as (

    select * from {{ ref('dim_letter') }}

),

messages as (

    select * from {{ ref('int_messages') }}

),

email_events as (

    select * from {{ ref('fct_email_events') }}

),

credits as (

    select * from {{ ref('fct_attribution_credits') }}

),

-- what the service itself counts; some tell nothing else
reported as (

    select * from {{ ref('stg_esp__campaign_totals') }}

),

message_counts as (

    select
        letter_id,
        count(*) as attempted_count,
        sum(case when is_sent then 1 else 0 end) as sent_count,
        sum(case when is_delivered then 1 else 0 end) as delivered_count,
        sum(case when is_bounced then 1 else 0 end) as bounced_count,
        sum(case when not is_sent and not is_bounced then 1 else 0 end) as rejected_count

    from messages
    where letter_id is not null
    group by letter_id

),

-- one row per message; the same person may get a letter more than once, and each of those was delivered
engaged_messages as (

    select
        messages.letter_id,
        messages.message_id,
        max(case when email_events.event_type = 'opened' then 1 else 0 end) as has_opened,
        max(case when email_events.event_type = 'opened' and not email_events.is_machine then 1 else 0 end)
            as has_opened_as_human,
        max(case when email_events.event_type = 'clicked' then 1 else 0 end) as has_clicked,
        max(case when email_events.event_type = 'clicked' and not email_events.is_machine then 1 else 0 end)
            as has_clicked_as_human,
        max(case when email_events.event_type = 'unsubscribed' then 1 else 0 end) as has_unsubscribed,
        max(case when email_events.event_type = 'complained' then 1 else 0 end) as has_complained

    from email_events
    inner join messages
        on email_events.message_id = messages.message_id
    where email_events.event_type in ('opened', 'clicked', 'unsubscribed', 'complained')
        and messages.is_delivered
        and messages.letter_id is not null
    group by
        messages.letter_id,
        messages.message_id

),

engagement_counts as (

    select
        letter_id,
        sum(has_opened) as opened_count,
        sum(has_opened_as_human) as opened_human_count,
        sum(has_clicked) as clicked_count,
        sum(has_clicked_as_human) as clicked_human_count,
        sum(has_unsubscribed) as unsubscribed_count,
        sum(has_complained) as complained_count

    from engaged_messages
    group by letter_id

),

credit_sums as (

    select
        letter_id,
        {%- for model in attribution_models() %}
        sum(case when model = '{{ model }}' and conversion_type = 'lead_created' then credit else 0 end)
            as leads_{{ model }},
        sum(case when model = '{{ model }}' and conversion_type = 'deal_won' then credit else 0 end)
            as deals_{{ model }},
        sum(case when model = '{{ model }}' and conversion_type = 'deal_won' then amount else 0 end)
            as revenue_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from credits
    where letter_id is not null
    group by letter_id

),

final as (

    select
        letters.letter_id,
        letters.source,
        letters.title,
        letters.subject,
        letters.sent_at,
        {%- for count in ['attempted_count', 'sent_count', 'delivered_count', 'bounced_count', 'rejected_count'] %}
        cast(coalesce(message_counts.{{ count }}, 0) as bigint) as {{ count }},
        {%- endfor %}
        {%- for count in [
            'opened_count', 'opened_human_count', 'clicked_count', 'clicked_human_count', 'unsubscribed_count', 'complained_count'
        ] %}
        cast(coalesce(engagement_counts.{{ count }}, 0) as bigint) as {{ count }},
        {%- endfor %}
        letters.source = 'bitrix' or message_counts.letter_id is not null as has_recipients,
        {%- for count in [
            'sent_count', 'delivered_count', 'opened_count', 'clicked_count', 'bounced_count', 'unsubscribed_count',
            'complained_count'
        ] %}
        cast(reported.{{ count }} as bigint) as reported_{{ count }},
        {%- endfor %}
        cast(
            1.0 * coalesce(engagement_counts.opened_count, 0) / nullif(message_counts.delivered_count, 0)
            as numeric(9, 6)
        ) as open_rate,
        cast(
            1.0 * coalesce(engagement_counts.opened_human_count, 0) / nullif(message_counts.delivered_count, 0)
            as numeric(9, 6)
        ) as open_rate_human,
        cast(
            1.0 * coalesce(engagement_counts.clicked_human_count, 0) / nullif(message_counts.delivered_count, 0)
            as numeric(9, 6)
        ) as click_rate,
        {%- for model in attribution_models() %}
        cast(coalesce(credit_sums.leads_{{ model }}, 0) as numeric(28, 10)) as leads_{{ model }},
        cast(coalesce(credit_sums.deals_{{ model }}, 0) as numeric(28, 10)) as deals_{{ model }},
        cast(coalesce(credit_sums.revenue_{{ model }}, 0) as numeric(18, 2)) as revenue_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from letters
    left join message_counts
        on letters.letter_id = message_counts.letter_id
    left join engagement_counts
        on letters.letter_id = engagement_counts.letter_id
    left join credit_sums
        on letters.letter_id = credit_sums.letter_id
    left join reported
        on letters.letter_id = reported.letter_id

)

select * from final
