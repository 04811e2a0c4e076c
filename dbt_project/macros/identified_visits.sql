{#-
    Every visit with whose it was and the advertisement that brought it. With `traces`, a select of trace ids, only those; a filter outside
    would not reach the ranking of the cards.
-#}
{% macro identified_visits(traces=none) -%}
with visits as (

    select * from {{ ref('int_visits_parsed') }}
    where not is_deleted
    {%- if traces %}
        and {{ among('trace_id', traces) }}
    {%- endif %}

),

tracking_sources as (

    select * from {{ ref('stg_bitrix__tracking_sources') }}

),

trace_cards as (

    select * from {{ ref('stg_bitrix__trace_cards') }}
    {%- if traces %}
    where {{ among('trace_id', traces) }}
    {%- endif %}

),

deals as (

    select * from {{ ref('stg_bitrix__deals') }}
    {%- if traces %}
    where {{ among('deal_id', "select card_id from trace_cards where card_type = 'deal'") }}
    {%- endif %}

),

orders as (

    select * from {{ ref('stg_bitrix__orders') }}
    {%- if traces %}
    where {{ among('order_id', "select card_id from trace_cards where card_type = 'order'") }}
    {%- endif %}

),

-- whose card it is: a deal is its contact's, an order its buyer's
visit_cards as (

    select
        trace_id,
        card_type,
        card_id,
        case card_type when 'contact' then 1 else 2 end as preference
    from trace_cards
    where card_type in ('contact', 'lead')
    union all
    select
        trace_cards.trace_id,
        'contact' as card_type,
        deals.contact_id as card_id,
        3 as preference
    from trace_cards
    inner join deals
        on trace_cards.card_type = 'deal'
            and trace_cards.card_id = deals.deal_id
    where deals.contact_id is not null
    union all
    select
        trace_cards.trace_id,
        'user' as card_type,
        orders.user_id as card_id,
        4 as preference
    from trace_cards
    inner join orders
        on trace_cards.card_type = 'order'
            and trace_cards.card_id = orders.order_id
    where orders.user_id is not null

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    {%- if traces %}
    where {{ among('card_id', 'select card_id from visit_cards') }}
    {%- endif %}

),

ranked_people as (

    select
        visit_cards.trace_id,
        people_crm_cards.person_id,
        row_number() over (
            partition by visit_cards.trace_id
            order by
                visit_cards.preference,
                visit_cards.card_id
        ) as person_rank

    from visit_cards
    inner join people_crm_cards
        on visit_cards.card_type = people_crm_cards.card_type
            and visit_cards.card_id = people_crm_cards.card_id

),

final as (

    select
        visits.*,
        case
            when visits.tracking_source_id is not null
                then coalesce(tracking_sources.source_code, tracking_sources.source_name, 'unknown')
        end as advertising_source,
        ranked_people.person_id

    from visits
    left join tracking_sources
        on visits.tracking_source_id = tracking_sources.tracking_source_id
    left join ranked_people
        on visits.trace_id = ranked_people.trace_id
            and ranked_people.person_rank = 1

)

select * from final
{%- endmacro %}
