{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with orders as (

    select * from {{ ref('stg_bitrix__orders') }}

),

payments as (

    select * from {{ ref('stg_bitrix__order_payments') }}

),

order_changes as (

    select * from {{ ref('stg_bitrix__order_changes') }}

),

order_cards as (

    select * from {{ ref('stg_bitrix__order_cards') }}

),

order_emails as (

    select * from {{ ref('stg_bitrix__order_emails') }}

),

order_deals as (

    select * from {{ ref('stg_bitrix__order_deals') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

payment_sums as (

    select
        order_id,
        sum(case when is_paid then amount else 0 end) as paid_amount,
        sum(case when is_returned then amount else 0 end) as returned_amount,
        sum(case when is_paid or is_returned then 1 else 0 end) as told_count,
        min(case when is_returned then paid_changed_at end) as returned_paid_at

    from payments
    group by order_id

),

-- a payment that is taken back is logged in the same words as one that is made, so only the first time of each tells when it came in
first_payments as (

    select
        order_id,
        payment_id,
        min(changed_at) as paid_at

    from order_changes
    where change_type = 'PAYMENT_PAID'
    group by
        order_id,
        payment_id

),

last_payments as (

    select
        order_id,
        max(paid_at) as paid_at

    from first_payments
    group by order_id

),

linked_contacts as (

    select
        order_cards.order_id,
        people_crm_cards.person_id,
        row_number() over (
            partition by order_cards.order_id
            order by
                order_cards.is_primary desc,
                order_cards.sort_order,
                order_cards.card_id
        ) as contact_rank

    from order_cards
    inner join people_crm_cards
        on order_cards.card_id = people_crm_cards.card_id
            and people_crm_cards.card_type = 'contact'
    where order_cards.card_type = 'contact'

),

left_emails as (

    select
        order_emails.order_id,
        people_emails.person_id,
        row_number() over (
            partition by order_emails.order_id
            order by order_emails.order_property_value_id
        ) as email_rank

    from order_emails
    inner join people_emails
        on order_emails.email = people_emails.email

),

{#-
    What the shop has of an order's money: what the order says is paid, but no more than its payments that were not given back.
    An order that is paid in full but names no sum was paid its price.
#}
kept as (

    select
        orders.order_id,
        case
            when coalesce(payment_sums.told_count, 0) = 0 then told.amount
            when payment_sums.paid_amount < told.amount then payment_sums.paid_amount
            else told.amount
        end as kept_amount,
        coalesce(payment_sums.returned_amount, 0) as returned_amount,
        payment_sums.returned_paid_at

    from orders
    inner join (
        select
            order_id,
            case
                when is_paid then coalesce(nullif(paid_amount, 0), amount)
                else coalesce(paid_amount, 0)
            end as amount
        from orders
    ) as told
        on orders.order_id = told.order_id
    left join payment_sums
        on orders.order_id = payment_sums.order_id

),

-- an order that is not paid any more was once, when all of its price had come in and some was given back
payments_placed as (

    select
        orders.order_id,
        kept.kept_amount,
        case
            when orders.is_paid and orders.amount > kept.kept_amount + kept.returned_amount then orders.amount
            else kept.kept_amount + kept.returned_amount
        end as received_amount,
        case
            when orders.is_paid
                then coalesce(orders.paid_at, last_payments.paid_at)
            when kept.returned_amount > 0 and kept.kept_amount + kept.returned_amount >= orders.amount
                then coalesce(last_payments.paid_at, kept.returned_paid_at)
        end as paid_at

    from orders
    inner join kept
        on orders.order_id = kept.order_id
    left join last_payments
        on orders.order_id = last_payments.order_id

),

joined as (

    select
        cast(orders.order_id as bigint) as order_id,
        cast(order_deals.deal_id as bigint) as deal_id,
        coalesce(
            linked_contacts.person_id,
            user_people.person_id,
            left_emails.person_id
        ) as person_id,
        orders.currency,
        cast(orders.amount as numeric(18, 4)) as placed_amount,
        cast(
            case
                when orders.is_canceled then orders.amount
                when payments_placed.paid_at is null then 0
                when payments_placed.received_amount - payments_placed.kept_amount > orders.amount then orders.amount
                else payments_placed.received_amount - payments_placed.kept_amount
            end as numeric(18, 4)
        ) as placed_refunded_amount,
        cast(payments_placed.received_amount as numeric(18, 4)) as received_amount,
        cast(payments_placed.received_amount - payments_placed.kept_amount as numeric(18, 4)) as refunded_amount,
        orders.is_canceled,
        orders.created_at,
        payments_placed.paid_at

    from orders
    inner join payments_placed
        on orders.order_id = payments_placed.order_id
    left join order_deals
        on orders.order_id = order_deals.order_id
    left join linked_contacts
        on orders.order_id = linked_contacts.order_id
            and linked_contacts.contact_rank = 1
    left join people_crm_cards as user_people
        on orders.user_id = user_people.card_id
            and user_people.card_type = 'user'
    left join left_emails
        on orders.order_id = left_emails.order_id
            and left_emails.email_rank = 1

)

select * from joined
