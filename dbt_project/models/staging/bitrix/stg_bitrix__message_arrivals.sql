{#- Which load last wrote or deleted a row of the sender module's event tables, whatever became of the row. -#}
{%- set tables = {
    'b_sender_posting_read': 'open',
    'b_sender_posting_click': 'click',
    'b_sender_posting_unsub': 'unsubscribed',
} -%}

{% for table, kind in tables.items() -%}
select
    'bitrix:{{ kind }}:' || id as event_id,
    nullif(recipient_id, 0) as recipient_id,
    posting_id,
    _load_id

from {{ source('bitrix', table) }}
{{ 'union all' if not loop.last }}
{% endfor %}
