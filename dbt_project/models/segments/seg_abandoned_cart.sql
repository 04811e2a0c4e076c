{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 100}}) }}

-- People who left something in the shop's cart between `cart_idle_hours` and `cart_max_days` ago and have ordered nothing since.
with basket_items as (

    select * from {{ ref('stg_bitrix__basket_items') }}
    where order_id is null
        -- put aside is a wish list, not a cart
        and not is_delayed
        -- a set is worth what it costs as a whole
        and (set_parent_id is null or set_parent_id = basket_item_id)

),

fusers as (

    select * from {{ ref('stg_bitrix__fusers') }}
    where user_id is not null

),

orders as (

    select * from {{ ref('stg_bitrix__orders') }}

),

currency_rates as (

    select * from {{ ref('int_currency_rates') }}

),

user_people as (

    select
        card_id as user_id,
        person_id

    from {{ ref('int_people_crm_cards') }}
    where card_type = 'user'

),

people as (

    select * from {{ ref('dim_person') }}
    where primary_email is not null

),

items as (

    select
        user_people.person_id,
        basket_items.basket_item_id,
        basket_items.product_name,
        basket_items.quantity,
        cast(basket_items.quantity as numeric(18, 4)) * basket_items.price * currency_rates.base_rate as value,
        coalesce(basket_items.updated_at, basket_items.created_at) as changed_at

    from basket_items
    inner join fusers
        on basket_items.fuser_id = fusers.fuser_id
    inner join user_people
        on fusers.user_id = user_people.user_id
    left join currency_rates
        on basket_items.currency = currency_rates.currency
            and {{ source_date('coalesce(basket_items.updated_at, basket_items.created_at)') }} >= currency_rates.valid_from
            and {{ source_date('coalesce(basket_items.updated_at, basket_items.created_at)') }} < currency_rates.valid_to

),

-- an item without a rate is worth an unknown amount: it is named only when there is no other
items_ranked as (

    select
        *,
        row_number() over (
            partition by person_id
            order by
                case when value is null then 1 else 0 end,
                value desc,
                basket_item_id
        ) as place

    from items

),

carts as (

    select
        person_id,
        sum(quantity) as item_count,
        case when count(value) = count(*) then round(sum(value), 2) end as cart_value,
        max(case when place = 1 then product_name end) as product,
        max(changed_at) as changed_at

    from items_ranked
    group by person_id

),

last_orders as (

    select
        user_people.person_id,
        max(orders.created_at) as ordered_at

    from orders
    inner join user_people
        on orders.user_id = user_people.user_id
    group by user_people.person_id

),

abandoned as (

    select
        people.primary_email as email,
        people.person_id,
        people.first_name,
        carts.product,
        cast(carts.item_count as integer) as item_count,
        carts.cart_value,
        {{ utc_date('carts.changed_at') }} as left_on

    from carts
    inner join people
        on carts.person_id = people.person_id
    left join last_orders
        on carts.person_id = last_orders.person_id
    where carts.changed_at <= {{ add_seconds(run_at(), -3600 * var('cart_idle_hours')) }}
        and carts.changed_at > {{ add_seconds(run_at(), -86400 * var('cart_max_days')) }}
        and (last_orders.ordered_at is null or last_orders.ordered_at < carts.changed_at)

)

select * from abandoned
