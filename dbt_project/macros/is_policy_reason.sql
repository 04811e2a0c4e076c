{#- Whether a server's words for a refusal speak of policy or reputation (an enhanced code 5.7.x or 4.7.x) and not of the mailbox. -#}
{% macro is_policy_reason(column) -%}
    {{ return(adapter.dispatch('is_policy_reason')(column)) }}
{%- endmacro %}

{% macro default__is_policy_reason(column) -%}
    coalesce(lower({{ column }}) similar to '%([45].7.[0-9]|policy|spam|reputation|blacklist|blocklist|dmarc)%', false)
{%- endmacro %}
