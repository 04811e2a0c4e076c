{#-
    The rules that tell machines from people, in one place, in the order in which they speak: what they conclude and the words for it
    (SQL; `link_count` and so on are columns of the judging model). int_clicks_judged and int_opens_judged apply them. Whoever changes
    what a rule does raises `rules_version`: rows judged by other rules, or with other vars, are judged again.
-#}
{% macro verdict_version() -%}
    {%- set rules_version = 2 -%}
    {%- set names = [
        'machine_open_seconds', 'doubtful_open_seconds', 'human_click_seconds', 'scanner_window_seconds', 'scanner_links',
        'scanner_click_seconds', 'scanner_click_links', 'doubtful_links_seconds', 'doubtful_click_seconds', 'unsubscribe_link_pattern',
        'domain_burst_messages', 'domain_burst_seconds', 'domain_burst_share', 'domain_burst_doubtful_share'
    ] -%}
    {%- set values = [] -%}
    {%- for name in names -%}
        {%- do values.append(name ~ '=' ~ var(name)) -%}
    {%- endfor -%}
    '{{ rules_version }}.{{ local_md5(values | join(","))[:8] }}'
{%- endmacro %}

{% macro click_rules() -%}
    {%- set of_the_domain -%}
        'within {{ var('domain_burst_seconds') }} s ' || burst_count || ' of ' || burst_size || ' letters to the domain'
    {%- endset -%}
    {{ return({
        'esp_proxy_flag': {
            'verdict': 'machine',
            'reason': "'the ESP says that a machine followed the link'"
        },
        'scanner_many_links': {
            'verdict': 'machine',
            'reason': "link_count || ' different links within " ~ var('scanner_window_seconds') ~ " s'"
        },
        'scanner_unsubscribe_link': {
            'verdict': 'machine',
            'reason': "'the unsubscribe link among ' || link_count || ' links within " ~ var('scanner_window_seconds') ~ " s'"
        },
        'scanner_instant_links': {
            'verdict': 'machine',
            'reason': "link_count || ' different links from within " ~ var('scanner_click_seconds') ~ " s of the send'"
        },
        'domain_burst': {
            'verdict': 'machine',
            'reason': of_the_domain
        },
        'part_of_domain_burst': {
            'verdict': 'doubtful',
            'reason': of_the_domain
        },
        'links_at_once': {
            'verdict': 'doubtful',
            'reason': "quick_link_count || ' different links within " ~ var('doubtful_links_seconds') ~ " s'"
        },
        'clicked_at_once': {
            'verdict': 'doubtful',
            'reason': "cast(seconds_after_send as integer) || ' s after the send'"
        },
    }) }}
{%- endmacro %}

{% macro open_rules() -%}
    {%- set soon_after -%}
        cast(seconds_after_send as integer) || ' s after the send, no human click within {{ var('human_click_seconds') }} s'
    {%- endset -%}
    {{ return({
        'esp_proxy_flag': {
            'verdict': 'machine',
            'reason': "'the ESP says that a proxy loaded the picture'"
        },
        'scanner_open': {
            'verdict': 'machine',
            'reason': "'loaded together with a scanner''s clicks'"
        },
        'opened_at_once': {
            'verdict': 'machine',
            'reason': soon_after
        },
        'opened_early': {
            'verdict': 'doubtful',
            'reason': soon_after
        },
    }) }}
{%- endmacro %}

{#- The verdict and the reason of `verdict_rule`; no rule spoke: a person. -#}
{% macro verdict_columns(rules) -%}
    case verdict_rule
            {%- for rule, says in rules.items() %}
            when '{{ rule }}' then '{{ says.verdict }}'
            {%- endfor %}
            else 'human'
        end as verdict,
        verdict_rule,
        case verdict_rule
            {%- for rule, says in rules.items() %}
            when '{{ rule }}' then {{ says.reason }}
            {%- endfor %}
        end as verdict_reason,
        {{ verdict_version() }} as verdict_version
{%- endmacro %}

{#- Whether a link of a letter is the one to leave by. -#}
{% macro is_unsubscribe_link(column) -%}
    {{ return(adapter.dispatch('is_unsubscribe_link')(column)) }}
{%- endmacro %}

{% macro default__is_unsubscribe_link(column) -%}
    coalesce(lower({{ column }}) similar to '{{ var("unsubscribe_link_pattern") }}', false)
{%- endmacro %}
