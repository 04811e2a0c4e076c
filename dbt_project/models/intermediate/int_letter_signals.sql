{{ config(
    materialized='table',
    indexes=[{'columns': ['signal_id'], 'unique': true}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set utm_tags = ['utm_source', 'utm_medium', 'utm_campaign', 'utm_content', 'utm_term'] %}

with visits as (

    select * from {{ ref('int_visits_identified') }}

),

trace_cards as (

    select * from {{ ref('stg_bitrix__trace_cards') }}

),

crm_utm_tags as (

    select * from {{ ref('stg_bitrix__crm_utm_tags') }}
    where entity_type in ('lead', 'deal')

),

conversion_items as (

    select * from {{ ref('stg_bitrix__conversion_items') }}
    where item_type = 'sale_order'

),

conversion_attributes as (

    select * from {{ ref('stg_bitrix__conversion_attributes') }}
    where attribute_name = 'sender_chain_source'

),

leads as (

    select * from {{ ref('stg_bitrix__leads') }}

),

deals as (

    select * from {{ ref('stg_bitrix__deals') }}

),

orders as (

    select * from {{ ref('stg_bitrix__orders') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}

),

entities as (

    select
        'visit' as entity_type,
        trace_id as entity_number,
        person_id,
        visited_at as happened_at
    from visits
    union all
    select
        'lead' as entity_type,
        leads.lead_id as entity_number,
        people_crm_cards.person_id,
        leads.created_at as happened_at
    from leads
    left join people_crm_cards
        on leads.lead_id = people_crm_cards.card_id
            and people_crm_cards.card_type = 'lead'
    union all
    select
        'deal' as entity_type,
        deals.deal_id as entity_number,
        coalesce(contact_people.person_id, lead_people.person_id) as person_id,
        deals.created_at as happened_at
    from deals
    left join people_crm_cards as contact_people
        on deals.contact_id = contact_people.card_id
            and contact_people.card_type = 'contact'
    left join people_crm_cards as lead_people
        on deals.lead_id = lead_people.card_id
            and lead_people.card_type = 'lead'
    where not deals.is_recurring_template
    union all
    select
        'order' as entity_type,
        orders.order_id as entity_number,
        people_crm_cards.person_id,
        orders.created_at as happened_at
    from orders
    left join people_crm_cards
        on orders.user_id = people_crm_cards.card_id
            and people_crm_cards.card_type = 'user'

),

-- the visits behind a card or an order; a deal has those of its lead too
entity_traces as (

    select
        'visit' as entity_type,
        trace_id as entity_number,
        trace_id
    from visits
    union
    select
        card_type as entity_type,
        card_id as entity_number,
        trace_id
    from trace_cards
    where card_type in ('lead', 'deal', 'order')
    union
    select
        'deal' as entity_type,
        deals.deal_id as entity_number,
        trace_cards.trace_id
    from deals
    inner join trace_cards
        on trace_cards.card_type = 'lead'
            and deals.lead_id = trace_cards.card_id

),

card_tags as (

    select
        entity_type,
        entity_id as entity_number,
        entity_type_id,
        {%- for tag in utm_tags %}
        max(case when tag = '{{ tag }}' then tag_value end) as {{ tag }}{{ ',' if not loop.last }}
        {%- endfor %}

    from crm_utm_tags
    group by
        entity_type,
        entity_id,
        entity_type_id

),

signals as (

    select
        entity_traces.entity_type,
        entity_traces.entity_number,
        'b_crm_tracking_trace:' || visits.trace_id as evidence_row,
        visits.visited_at as signal_at,
        visits.recipient_id,
        visits.mc_cid,
        cast(null as {{ dbt.type_bigint() }}) as letter_number,
        {%- for tag in utm_tags %}
        visits.{{ tag }}{{ ',' if not loop.last }}
        {%- endfor %}
    from entity_traces
    inner join visits
        on entity_traces.trace_id = visits.trace_id
    union all
    select
        card_tags.entity_type,
        card_tags.entity_number,
        'b_crm_utm:' || card_tags.entity_type_id || ':' || card_tags.entity_number as evidence_row,
        cast(null as {{ timestamp_utc_type() }}) as signal_at,
        cast(null as {{ dbt.type_bigint() }}) as recipient_id,
        cast(null as {{ dbt.type_string() }}) as mc_cid,
        cast(null as {{ dbt.type_bigint() }}) as letter_number,
        {%- for tag in utm_tags %}
        card_tags.{{ tag }}{{ ',' if not loop.last }}
        {%- endfor %}
    from card_tags
    union all
    select
        'order' as entity_type,
        conversion_items.item_id as entity_number,
        'b_conv_context:' || conversion_items.context_id as evidence_row,
        cast(null as {{ timestamp_utc_type() }}) as signal_at,
        cast(null as {{ dbt.type_bigint() }}) as recipient_id,
        cast(null as {{ dbt.type_string() }}) as mc_cid,
        {{ text_to_integer('conversion_attributes.attribute_value') }} as letter_number,
        {%- for tag in utm_tags %}
        cast(null as {{ dbt.type_string() }}) as {{ tag }}{{ ',' if not loop.last }}
        {%- endfor %}
    from conversion_items
    inner join conversion_attributes
        on conversion_items.context_id = conversion_attributes.context_id

),

final as (

    select
        entities.entity_type || ':' || entities.entity_number || ':' || coalesce(signals.evidence_row, 'none') as signal_id,
        entities.entity_type,
        cast(entities.entity_number as {{ dbt.type_string() }}) as entity_id,
        entities.person_id,
        entities.happened_at,
        signals.evidence_row,
        -- tags on a card have no time of their own; they were there when it was made
        coalesce(signals.signal_at, entities.happened_at) as signal_at,
        signals.recipient_id,
        signals.mc_cid,
        signals.letter_number,
        {%- for tag in utm_tags %}
        signals.{{ tag }},
        {%- endfor %}
        coalesce(signals.utm_source, signals.utm_medium, signals.utm_campaign, signals.utm_content, signals.utm_term) is not null
            as has_tags

    from entities
    left join signals
        on entities.entity_type = signals.entity_type
            and entities.entity_number = signals.entity_number
            -- a visit that came later did not bring the card
            and coalesce(signals.signal_at, entities.happened_at)
                <= {{ add_seconds('entities.happened_at', var('visit_late_seconds')) }}

)

select * from final
