{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='signal_id',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[
        {'columns': ['signal_id'], 'unique': true},
        {'columns': ['entity_id']},
        {'columns': ['evidence_row']},
        {'columns': ['recipient_id']},
        {'columns': ['_built_at']},
    ],
    pre_hook="{{ plan_for_bulk(always=true) }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#-
    In an increment the visits, leads, deals and orders are looked at of which a row was loaded, whose card is another person's now, or
    which have a visit in common with such a one, now or before.
-#}
-- depends_on: {{ ref('stg_bitrix__entity_arrivals') }}, {{ ref('int_loads') }}, {{ ref('int_visits_parsed') }}
-- depends_on: {{ ref('int_visits_identified') }}, {{ ref('int_identifiers') }}, {{ ref('int_identifiers_joined') }}
-- depends_on: {{ ref('stg_bitrix__tracking_sources') }}
{%- set since = incremental_since() %}
{%- set utm_tags = ['utm_source', 'utm_medium', 'utm_campaign', 'utm_content', 'utm_term'] %}
{%- set columns = [
    'entity_type', 'entity_id', 'person_id', 'happened_at', 'evidence_row', 'signal_at', 'recipient_id', 'mc_cid', 'letter_number'
] + utm_tags + ['has_tags'] %}

{% if since -%}
with cards_with_news as (

    {%- for identifiers in [ref('int_identifiers_joined'), ref('int_identifiers')] %}

    select
        kind as card_type,
        card_id
    from {{ identifiers }}
    where _built_at > {{ since }}
        and kind in ('contact', 'lead', 'user')
    {{- '\n\n    union' if not loop.last }}
    {%- endfor %}

),

arrivals as (

    select * from {{ ref('stg_bitrix__entity_arrivals') }}
    where {{ only_new_loads(since) }}

),

deals_with_news as (

    select entity_id as deal_id
    from arrivals
    where entity_type = 'deal'

    union

    select deal_id
    from {{ ref('stg_bitrix__deals') }}
    where {{ among('contact_id', "select card_id from cards_with_news where card_type = 'contact'") }}

    union

    select deal_id
    from {{ ref('stg_bitrix__deals') }}
    where {{ among('lead_id', "select card_id from cards_with_news where card_type = 'lead'") }}

),

orders_with_news as (

    select entity_id as order_id
    from arrivals
    where entity_type = 'order'

    union

    select order_id
    from {{ ref('stg_bitrix__orders') }}
    where {{ among('user_id', "select card_id from cards_with_news where card_type = 'user'") }}

),

news as (

    select
        card_type,
        card_id
    from cards_with_news
    where card_type in ('contact', 'lead')

    union

    select
        'lead' as card_type,
        entity_id as card_id
    from arrivals
    where entity_type = 'lead'

    union

    select
        'deal' as card_type,
        deal_id as card_id
    from deals_with_news

    union

    select
        'order' as card_type,
        order_id as card_id
    from orders_with_news

),

traces_with_news as (

    select trace_id
    from arrivals
    where trace_id is not null

    union

    select trace_id
    from {{ ref('int_visits_parsed') }}
    where _built_at > {{ since }}

    union

    select trace_cards.trace_id
    from {{ ref('stg_bitrix__trace_cards') }} as trace_cards
    inner join news
        on trace_cards.card_type = news.card_type
            and trace_cards.card_id = news.card_id
    where {{ among('trace_cards.card_id', 'select card_id from news') }}

),

cards_of_traces as (

    select
        card_type,
        card_id
    from {{ ref('stg_bitrix__trace_cards') }}
    where {{ among('trace_id', 'select trace_id from traces_with_news') }}

),

touched as (

    select
        'visit' as entity_type,
        trace_id as entity_number
    from traces_with_news

    union

    select
        card_type,
        card_id
    from news
    where card_type <> 'contact'

    union

    select
        card_type,
        card_id
    from cards_of_traces
    where card_type in ('lead', 'deal', 'order')

    union

    select
        'deal',
        deal_id
    from {{ ref('stg_bitrix__deals') }}
    where {{ among('lead_id', "select card_id from cards_of_traces where card_type = 'lead'") }}

    union

    -- what the visit was tied to before
    select
        entity_type,
        cast(entity_id as bigint)
    from {{ this }}
    where {{ among('evidence_row', "select 'b_crm_tracking_trace:' || trace_id from traces_with_news") }}

),

leads as (

    select * from {{ ref('stg_bitrix__leads') }}
    where {{ among('lead_id', "select entity_number from touched where entity_type = 'lead'") }}

),

deals as (

    select * from {{ ref('stg_bitrix__deals') }}
    where {{ among('deal_id', "select entity_number from touched where entity_type = 'deal'") }}

),

orders as (

    select * from {{ ref('stg_bitrix__orders') }}
    where {{ among('order_id', "select entity_number from touched where entity_type = 'order'") }}

),

cards_to_read as (

    select
        entity_type as card_type,
        entity_number as card_id
    from touched
    where entity_type <> 'visit'

    union

    select
        'lead',
        lead_id
    from deals
    where lead_id is not null

),

trace_cards as (

    select trace_cards.*
    from {{ ref('stg_bitrix__trace_cards') }} as trace_cards
    inner join cards_to_read
        on trace_cards.card_type = cards_to_read.card_type
            and trace_cards.card_id = cards_to_read.card_id
    where {{ among('trace_cards.card_id', 'select card_id from cards_to_read') }}

),

traces_to_read as (

    select entity_number as trace_id
    from touched
    where entity_type = 'visit'

    union

    select trace_id
    from trace_cards

),

visits_to_read as (

    {{ identified_visits('select trace_id from traces_to_read') | indent(4) }}

),

visits as (

    select * from visits_to_read

),

visits_themselves as (

    select visits.*
    from visits
    inner join touched
        on touched.entity_type = 'visit'
            and visits.trace_id = touched.entity_number

),

crm_utm_tags as (

    select * from {{ ref('stg_bitrix__crm_utm_tags') }}
    where entity_type in ('lead', 'deal')
        and {{ among('entity_id', "select entity_number from touched where entity_type in ('lead', 'deal')") }}

),

conversion_items as (

    select * from {{ ref('stg_bitrix__conversion_items') }}
    where item_type = 'sale_order'
        and item_id in (select entity_number from touched where entity_type = 'order')

),

held as (

    select stored.*
    from {{ this }} as stored
    inner join touched
        on stored.entity_type = touched.entity_type
            and stored.entity_id = cast(touched.entity_number as {{ dbt.type_string() }})
    where {{ among('stored.entity_id', 'select cast(entity_number as ' ~ dbt.type_string() ~ ') from touched') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    where {{ among(
        'card_id',
        'select lead_id from leads union select lead_id from deals union select contact_id from deals union select user_id from orders'
    ) }}

),
{%- else -%}
with visits as (

    select * from {{ ref('int_visits_identified') }}

),

visits_themselves as (

    select * from visits

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
{%- endif %}

conversion_attributes as (

    select * from {{ ref('stg_bitrix__conversion_attributes') }}
    where attribute_name = 'sender_chain_source'

),

entities as (

    select
        'visit' as entity_type,
        trace_id as entity_number,
        person_id,
        visited_at as happened_at
    from visits_themselves
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
    from visits_themselves
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

current_signals as (

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

),

{{ changed_rows('current_signals', 'signal_id', columns, held='held' if since else none) }}
