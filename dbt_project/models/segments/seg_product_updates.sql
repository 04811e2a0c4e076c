{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 20}}) }}

-- People who chose to read updates of products. Who stopped reading letters at all is left out until they open one again.
with preferences as (

    select * from {{ ref('dim_preference') }}
    where category = 'product_updates'
        and state = 'subscribed'

),

people as (

    select * from {{ ref('dim_person') }}
    where primary_email is not null

),

kept_back as (

    select distinct email
    from {{ ref('dim_suppression') }}
    where scope in ('product_updates', 'regular_letters')

),

readers as (

    select
        people.primary_email as email,
        people.person_id,
        people.first_name,
        people.last_name

    from preferences
    inner join people
        on preferences.person_id = people.person_id
    left join kept_back
        on people.primary_email = kept_back.email
    where kept_back.email is null

)

select * from readers
