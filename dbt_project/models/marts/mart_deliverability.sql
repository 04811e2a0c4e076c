with daily as (

    select * from {{ ref('int_engagement_daily') }}
    where sent_on is not null

),

summed as (

    select
        sent_on,
        source,
        coalesce(email_domain, 'unknown') as email_domain,
        {%- for count in engagement_counts() %}
        cast(sum({{ count }}) as bigint) as {{ count }}{{ ',' if not loop.last }}
        {%- endfor %}

    from daily
    group by
        sent_on,
        source,
        coalesce(email_domain, 'unknown')

),

final as (

    select
        sent_on,
        source,
        email_domain,
        attempted_count,
        sent_count,
        delivered_count,
        bounced_count,
        bounced_hard_count,
        {%- for kind in ['soft', 'block', 'policy'] %}
        case when {{ tells_bounce_kinds('source') }} then bounced_{{ kind }}_count end as bounced_{{ kind }}_count,
        {%- endfor %}
        bounced_unknown_count,
        rejected_count,
        complained_count,
        unsubscribed_count,
        {{ rate('bounced_count', 'attempted_count') }} as bounce_rate,
        {{ rate('bounced_hard_count', 'attempted_count') }} as hard_bounce_rate,
        {{ rate('complained_count', 'delivered_count') }} as complaint_rate,
        case
            when delivered_count = 0
                then null
            when complained_count >= {{ var('complaint_rate_limit') }} * delivered_count and complained_count > 0
                then 'over_limit'
            when complained_count >= {{ var('complaint_rate_warning') }} * delivered_count and complained_count > 0
                then 'over_warning'
            else 'ok'
        end as complaint_status

    from summed

)

select * from final
