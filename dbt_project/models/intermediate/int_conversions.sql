{%- set call_directions = var('call_directions') -%}

with leads as (

    select * from {{ ref('stg_bitrix__leads') }}

),

deals as (

    select * from {{ ref('int_deals') }}

),

orders as (

    select * from {{ ref('int_orders') }}

),

activities as (

    select * from {{ ref('stg_bitrix__activities') }}

),

activity_cards as (

    select * from {{ ref('stg_bitrix__activity_cards') }}

),

form_results as (

    select * from {{ ref('stg_bitrix__form_results') }}

),

form_result_cards as (

    select * from {{ ref('stg_bitrix__form_result_cards') }}

),

currencies as (

    select * from {{ ref('stg_bitrix__currencies') }}

),

currency_rates as (

    select * from {{ ref('int_currency_rates') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}

),

base_currency as (

    select max(currency) as currency
    from currencies
    where is_base

),

-- whom a card speaks of, the surest kind of card first
card_people as (

    select
        card_type,
        card_id,
        person_id,
        case card_type
            when 'contact' then 1
            when 'lead' then 2
            else 4
        end as card_rank

    from people_crm_cards
    where card_type in ('contact', 'lead', 'company')

    union all

    select
        'deal' as card_type,
        deal_id as card_id,
        person_id,
        3 as card_rank

    from deals
    where person_id is not null

),

form_people as (

    select
        form_result_cards.form_result_id,
        card_people.person_id,
        row_number() over (
            partition by form_result_cards.form_result_id
            order by
                card_people.card_rank,
                card_people.card_id
        ) as place

    from form_result_cards
    inner join card_people
        on form_result_cards.card_type = card_people.card_type
            and form_result_cards.card_id = card_people.card_id

),

form_leads as (

    select
        form_result_id,
        min(card_id) as lead_id

    from form_result_cards
    where card_type = 'lead'
    group by form_result_id

),

calls as (

    select *
    from activities
    where activity_type = 'call'
        and direction in ('{{ call_directions | join("', '") }}')

),

call_cards as (

    select activity_id, card_type, card_id from activity_cards
    union
    select activity_id, card_type, card_id from calls

),

call_people as (

    select
        calls.activity_id,
        card_people.person_id,
        row_number() over (
            partition by calls.activity_id
            order by
                card_people.card_rank,
                card_people.card_id
        ) as place

    from calls
    inner join call_cards
        on calls.activity_id = call_cards.activity_id
    inner join card_people
        on call_cards.card_type = card_people.card_type
            and call_cards.card_id = card_people.card_id

),

leads_created as (

    select
        'lead_created' as conversion_type,
        cast(leads.lead_id as bigint) as source_id,
        people_crm_cards.person_id,
        leads.created_at as converted_at,
        leads.amount as told_amount,
        leads.account_currency,
        leads.original_amount,
        leads.currency as original_currency,
        0 as refunded_amount,
        leads.created_at as lead_created_at,
        {{ no_time() }} as deal_created_at,
        cast(null as bigint) as deal_id,
        'lead' as linked_type,
        cast(leads.lead_id as bigint) as linked_id

    from leads
    left join people_crm_cards
        on leads.lead_id = people_crm_cards.card_id
            and people_crm_cards.card_type = 'lead'

),

forms_submitted as (

    select
        'form_submitted' as conversion_type,
        cast(form_results.form_result_id as bigint) as source_id,
        form_people.person_id,
        form_results.submitted_at as converted_at,
        cast(null as numeric) as told_amount,
        cast(null as {{ dbt.type_string() }}) as account_currency,
        cast(null as numeric) as original_amount,
        cast(null as {{ dbt.type_string() }}) as original_currency,
        0 as refunded_amount,
        form_results.submitted_at as lead_created_at,
        {{ no_time() }} as deal_created_at,
        cast(null as bigint) as deal_id,
        'lead' as linked_type,
        cast(form_leads.lead_id as bigint) as linked_id

    from form_results
    left join form_people
        on form_results.form_result_id = form_people.form_result_id
            and form_people.place = 1
    left join form_leads
        on form_results.form_result_id = form_leads.form_result_id

),

calls_made as (

    select
        'call' as conversion_type,
        cast(calls.activity_id as bigint) as source_id,
        call_people.person_id,
        calls.created_at as converted_at,
        cast(null as numeric) as told_amount,
        cast(null as {{ dbt.type_string() }}) as account_currency,
        cast(null as numeric) as original_amount,
        cast(null as {{ dbt.type_string() }}) as original_currency,
        0 as refunded_amount,
        calls.created_at as lead_created_at,
        {{ no_time() }} as deal_created_at,
        cast(null as bigint) as deal_id,
        case when calls.card_type in ('lead', 'deal') then calls.card_type end as linked_type,
        cast(calls.card_id as bigint) as linked_id

    from calls
    left join call_people
        on calls.activity_id = call_people.activity_id
            and call_people.place = 1

),

{%- for conversion_type, moment in {'deal_created': 'created_at', 'deal_won': 'won_at'}.items() %}

{{ conversion_type }}_rows as (

    select
        '{{ conversion_type }}' as conversion_type,
        deal_id as source_id,
        person_id,
        {{ moment }} as converted_at,
        amount as told_amount,
        account_currency,
        original_amount,
        original_currency,
        0 as refunded_amount,
        lead_created_at,
        created_at as deal_created_at,
        deal_id,
        'deal' as linked_type,
        deal_id as linked_id

    from deals

),
{%- endfor %}

{#- An order is what a deal is elsewhere, so for models that look at milestones its making stands for the deal's. #}
orders_placed as (

    select
        'order_placed' as conversion_type,
        order_id as source_id,
        person_id,
        created_at as converted_at,
        cast(null as numeric) as told_amount,
        cast(null as {{ dbt.type_string() }}) as account_currency,
        placed_amount as original_amount,
        currency as original_currency,
        placed_refunded_amount as refunded_amount,
        {{ no_time() }} as lead_created_at,
        created_at as deal_created_at,
        deal_id,
        'order' as linked_type,
        order_id as linked_id

    from orders

),

orders_paid as (

    select
        'order_paid' as conversion_type,
        order_id as source_id,
        person_id,
        paid_at as converted_at,
        cast(null as numeric) as told_amount,
        cast(null as {{ dbt.type_string() }}) as account_currency,
        received_amount as original_amount,
        currency as original_currency,
        refunded_amount,
        {{ no_time() }} as lead_created_at,
        created_at as deal_created_at,
        deal_id,
        'order' as linked_type,
        order_id as linked_id

    from orders

),

conversions as (

    {%- for part in [
        'leads_created', 'forms_submitted', 'calls_made', 'deal_created_rows', 'deal_won_rows', 'orders_placed', 'orders_paid'
    ] %}
    select * from {{ part }}
    where converted_at is not null
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

-- the CRM freezes a rate with each save and tells the amount at it; everything else is converted at the day's rate
valued as (

    select
        conversions.*,
        case
            when conversions.told_amount is not null
                and coalesce(conversions.account_currency, base_currency.currency, '')
                = coalesce(base_currency.currency, conversions.account_currency, '')
                then conversions.told_amount
            else conversions.original_amount * currency_rates.base_rate
        end as gross_amount,
        conversions.refunded_amount * currency_rates.base_rate as base_refunded_amount

    from conversions
    cross join base_currency
    left join currency_rates
        on conversions.original_currency = currency_rates.currency
            and {{ source_date('conversions.converted_at') }} >= currency_rates.valid_from
            and {{ source_date('conversions.converted_at') }} < currency_rates.valid_to

),

won_deals as (

    select deal_id
    from deals
    where won_at is not null

),

final as (

    select
        valued.conversion_type || ':' || valued.source_id as conversion_id,
        valued.conversion_type,
        valued.source_id,
        valued.person_id,
        valued.converted_at,
        cast(
            round(coalesce(valued.gross_amount, 0), 2) - round(coalesce(valued.base_refunded_amount, 0), 2)
            as numeric(18, 2)
        ) as amount,
        cast(coalesce(valued.base_refunded_amount, 0) as numeric(18, 2)) as refunded_amount,
        cast(valued.original_amount as numeric(18, 2)) as original_amount,
        valued.original_currency,
        -- a paid order of a won deal is the same money
        coalesce(
            valued.conversion_type = 'deal_won' or (valued.conversion_type = 'order_paid' and won_deals.deal_id is null),
            false
        ) as is_revenue,
        valued.lead_created_at,
        valued.deal_created_at,
        valued.deal_id,
        valued.linked_type,
        valued.linked_id

    from valued
    left join won_deals
        on valued.deal_id = won_deals.deal_id

)

select * from final
