{#- A rate with six digits; null when there is nothing to be a part of. -#}
{% macro rate(part, whole) -%}
    cast(1.0 * {{ part }} / nullif({{ whole }}, 0) as numeric(9, 6))
{%- endmacro %}

{#- The counts of int_engagement_daily, in its order. -#}
{% macro engagement_counts() -%}
    {{ return([
        'attempted_count', 'sent_count', 'delivered_count', 'bounced_count', 'rejected_count',
        'bounced_hard_count', 'bounced_soft_count', 'bounced_block_count', 'bounced_policy_count', 'bounced_unknown_count',
        'opened_count', 'opened_human_count', 'opened_doubtful_count', 'opened_machine_count',
        'clicked_count', 'clicked_human_count', 'clicked_doubtful_count', 'clicked_machine_count',
        'unsubscribed_count', 'complained_count',
    ]) }}
{%- endmacro %}

{#-
    Counts and rates of a group of letters out of rows that have engagement_counts() and `is_open_tracked`. Opens and clicks
    are divided by what was delivered of letters that could tell of them.
-#}
{% macro summed_engagement() -%}
    {%- for count in engagement_counts() %}
        cast(sum({{ count }}) as bigint) as {{ count }},
    {%- endfor %}
        cast(sum(case when is_open_tracked then delivered_count else 0 end) as bigint) as tracked_count
{%- endmacro %}

{% macro engagement_rates() -%}
    {{ rate('delivered_count', 'sent_count') }} as delivery_rate,
        {{ rate('bounced_count', 'attempted_count') }} as bounce_rate,
        {{ rate('opened_count', 'tracked_count') }} as open_rate,
        {{ rate('opened_human_count', 'tracked_count') }} as open_rate_human,
        {{ rate('clicked_human_count', 'tracked_count') }} as click_rate,
        {{ rate('clicked_human_count', 'opened_human_count') }} as click_to_open_rate,
        {{ rate('unsubscribed_count', 'delivered_count') }} as unsubscribe_rate,
        {{ rate('complained_count', 'delivered_count') }} as complaint_rate
{%- endmacro %}

{#-
    Whether a source tells why a letter came back. A self-hosted Bitrix knows a hard bounce by its own blacklist at best, so that its
    soft bounces and refusals are unknown and not zero.
-#}
{% macro tells_bounce_kinds(source) -%}
    {{ source }} <> 'bitrix'
{%- endmacro %}
