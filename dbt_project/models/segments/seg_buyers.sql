{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 20}}) }}

-- People who have bought: a won deal or a paid order of which something was not given back. A paid order of a won deal is the same
-- purchase.
with conversions as (

    select
        person_id,
        converted_at,
        amount

    from {{ ref('fct_conversions') }}
    where is_revenue
        and converted_at <= {{ run_at() }}

),

people as (

    select * from {{ ref('dim_person') }}
    where primary_email is not null

),

purchases as (

    select
        person_id,
        count(*) as purchase_count,
        sum(amount) as spent,
        max(converted_at) as last_bought_at

    from conversions
    where amount > 0
    group by person_id

),

buyers as (

    select
        people.primary_email as email,
        people.person_id,
        people.first_name,
        people.last_name,
        cast(purchases.purchase_count as integer) as purchase_count,
        round(purchases.spent, 2) as spent,
        {{ utc_date('purchases.last_bought_at') }} as last_bought_on

    from purchases
    inner join people
        on purchases.person_id = people.person_id

)

select * from buyers
