{{ config(
    materialized='incremental',
    incremental_strategy='append',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['dispatch_key']}, {'columns': ['_built_at']}],
    pre_hook=[
        "{{ plan_for_bulk(always=true) }}",
        "{{ drop_changed_rows('int_message_changes', 'verdict_version', verdict_version(), key='dispatch_key') }}",
    ],
    post_hook="{{ refresh_statistics(this) }}"
) }}
{%- set since = incremental_since('verdict_version', verdict_version()) -%}

with changed_dispatches as (

    select distinct dispatch_key
    from {{ ref('int_message_changes') }}
    where {{ newer_than(since) }}

),

outcomes as (

    select * from {{ ref('int_message_outcomes') }}
    where dispatch_key is not null
    {%- if since %}
        and {{ among('dispatch_key', 'select dispatch_key from changed_dispatches') }}
    {%- endif %}

),

daily as (

    select
        dispatch_key,
        letter_id,
        source,
        email_domain,
        {{ utc_date('sent_at') }} as sent_on,
        count(*) as attempted_count,
        sum(case when is_sent then 1 else 0 end) as sent_count,
        sum(case when is_delivered then 1 else 0 end) as delivered_count,
        sum(case when is_bounced then 1 else 0 end) as bounced_count,
        sum(case when not is_sent and not is_bounced then 1 else 0 end) as rejected_count,
        {%- for kind in ['hard', 'soft', 'block', 'unknown'] %}
        sum(case when bounce_kind = '{{ kind }}' and not is_policy_bounce then 1 else 0 end) as bounced_{{ kind }}_count,
        {%- endfor %}
        sum(case when is_policy_bounce then 1 else 0 end) as bounced_policy_count,
        {%- for done in ['opened', 'clicked'] %}
        sum(case when is_delivered and {{ done }}_by is not null then 1 else 0 end) as {{ done }}_count,
        {%- for who in ['human', 'doubtful', 'machine'] %}
        sum(case when is_delivered and {{ done }}_by = '{{ who }}' then 1 else 0 end) as {{ done }}_{{ who }}_count,
        {%- endfor %}
        {%- endfor %}
        sum(case when is_delivered and has_unsubscribed then 1 else 0 end) as unsubscribed_count,
        sum(case when is_delivered and has_complained then 1 else 0 end) as complained_count

    from outcomes
    group by
        dispatch_key,
        letter_id,
        source,
        email_domain,
        {{ utc_date('sent_at') }}

)

select
    daily.*,
    {{ verdict_version() }} as verdict_version,
    {{ built_at() }} as _built_at

from daily
