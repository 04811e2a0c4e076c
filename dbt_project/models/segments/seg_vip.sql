{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 20}}) }}

-- People who spent `vip_amount` or more within `vip_days`, refunds taken off; a paid order of a won deal is the same money.
with conversions as (

    select
        person_id,
        amount

    from {{ ref('fct_conversions') }}
    where is_revenue
        and converted_at <= {{ run_at() }}
        and converted_at > {{ add_seconds(run_at(), -86400 * var('vip_days')) }}

),

people as (

    select * from {{ ref('dim_person') }}
    where primary_email is not null

),

spending as (

    select
        person_id,
        sum(amount) as spent

    from conversions
    group by person_id

),

vips as (

    select
        people.primary_email as email,
        people.person_id,
        people.first_name,
        people.last_name,
        round(spending.spent, 2) as spent

    from spending
    inner join people
        on spending.person_id = people.person_id
    where spending.spent >= {{ var('vip_amount') }}

)

select * from vips
