{#-
    Which load last wrote or deleted a row that says something about a visit, lead, deal or order, whatever became of the row: its own, one
    that ties a visit to it, its tags, and what tells which letter brought an order. A
    visit also has the name of the advertisement it came by.
-#}
{% for table, entity_type, id in [
    ('b_crm_lead', 'lead', 'id'),
    ('b_crm_deal', 'deal', 'id'),
    ('b_sale_order', 'order', 'id'),
    ('b_sale_order_archive', 'order', 'order_id'),
    ('b_crm_tracking_source', 'tracking_source', 'id'),
] -%}
select
    '{{ entity_type }}' as entity_type,
    cast({{ id }} as bigint) as entity_id,
    cast(null as bigint) as trace_id,
    _load_id
from {{ source('bitrix', table) }}

union all

{% endfor -%}
select
    {{ crm_entity_type('entity_type_id') }} as entity_type,
    entity_id,
    trace_id,
    _load_id
from {{ source('bitrix', 'b_crm_tracking_trace_entity') }}

union all

select
    {{ crm_entity_type('entity_type_id') }} as entity_type,
    entity_id,
    cast(null as bigint) as trace_id,
    _load_id
from {{ source('bitrix', 'b_crm_utm') }}

union all

select
    'order' as entity_type,
    {{ text_to_integer('item') }} as entity_id,
    cast(null as bigint) as trace_id,
    _load_id
from {{ source('bitrix', 'b_conv_context_entity_item') }}
where entity = 'sale_order'

union all

select
    'order' as entity_type,
    {{ text_to_integer('items.item') }} as entity_id,
    cast(null as bigint) as trace_id,
    attributes._load_id
from {{ source('bitrix', 'b_conv_context_attribute') }} as attributes
inner join {{ source('bitrix', 'b_conv_context_entity_item') }} as items
    on attributes.context_id = items.context_id
where items.entity = 'sale_order'
