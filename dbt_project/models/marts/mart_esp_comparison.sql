with daily as (

    select * from {{ ref('int_engagement_daily') }}
    where letter_id is not null

),

letters as (

    select * from {{ ref('int_letter_engagement') }}

),

engaged as (

    select
        letters.source,
        cast({{ dbt.date_trunc('quarter', 'coalesce(daily.sent_on, letters.sent_on)') }} as date) as quarter,
        letters.is_open_tracked,
        daily.letter_id,
        {%- for count in engagement_counts() %}
        daily.{{ count }}{{ ',' if not loop.last }}
        {%- endfor %}

    from daily
    inner join letters
        on daily.letter_id = letters.letter_id

),

summed as (

    select
        source,
        quarter,
        count(distinct letter_id) as letter_count,
        {{ summed_engagement() }}

    from engaged
    where quarter is not null
    group by
        source,
        quarter

),

-- a service may know of letters whose recipients it does not tell
reported as (

    select
        source,
        cast({{ dbt.date_trunc('quarter', 'sent_on') }} as date) as quarter,
        sum(reported_sent_count) as reported_sent_count,
        sum(case when reported_sent_count is not null then sent_count end) as sent_of_reported_count,
        sum(reported_opened_count) as reported_opened_count,
        sum(case when reported_opened_count is not null then opened_count end) as opened_of_reported_count

    from letters
    where sent_on is not null
    group by
        source,
        cast({{ dbt.date_trunc('quarter', 'sent_on') }} as date)

),

final as (

    select
        summed.source,
        summed.quarter,
        summed.letter_count,
        {%- for count in engagement_counts() %}
        {%- if count in ['bounced_soft_count', 'bounced_block_count', 'bounced_policy_count'] %}
        case when {{ tells_bounce_kinds('summed.source') }} then summed.{{ count }} end as {{ count }},
        {%- else %}
        summed.{{ count }},
        {%- endif %}
        {%- endfor %}
        summed.tracked_count,
        {{ engagement_rates() }},
        {{ rate('summed.opened_machine_count', 'summed.opened_count') }} as machine_open_share,
        cast(reported.reported_sent_count as bigint) as reported_sent_count,
        cast(reported.sent_of_reported_count as bigint) as sent_of_reported_count,
        cast(reported.reported_opened_count as bigint) as reported_opened_count,
        cast(reported.opened_of_reported_count as bigint) as opened_of_reported_count

    from summed
    left join reported
        on summed.source = reported.source
            and summed.quarter = reported.quarter

)

select * from final
