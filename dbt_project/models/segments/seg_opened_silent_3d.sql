{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 100}}) }}

-- People whose last sign was an open `silent_days` ago or longer: no click, visit, lead or purchase came after it. For a reminder.
with people as (

    select * from {{ ref('dim_person') }}
    where primary_email is not null
        and last_opened_at is not null

),

visits as (

    select
        person_id,
        max(visited_at) as last_visited_at

    from {{ ref('int_visits') }}
    where person_id is not null
        and not is_gone
    group by person_id

),

conversions as (

    select
        person_id,
        max(converted_at) as last_converted_at

    from {{ ref('fct_conversions') }}
    where person_id is not null
    group by person_id

),

silent as (

    select
        people.primary_email as email,
        people.person_id,
        people.first_name,
        {{ utc_date('people.last_opened_at') }} as opened_on

    from people
    left join visits
        on people.person_id = visits.person_id
    left join conversions
        on people.person_id = conversions.person_id
    where people.last_opened_at <= {{ add_seconds(run_at(), -86400 * var('silent_days')) }}
        and people.last_opened_at > {{ add_seconds(run_at(), -86400 * var('silent_max_days')) }}
        and (people.last_clicked_at is null or people.last_clicked_at < people.last_opened_at)
        and (visits.last_visited_at is null or visits.last_visited_at < people.last_opened_at)
        and (conversions.last_converted_at is null or conversions.last_converted_at < people.last_opened_at)

)

select * from silent
