{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 20}}) }}

-- People kept out of the regular letters for `inactive_suppression_days` without an open or click: to be won back, or, after
-- `exclude_after_days`, to be left out for good.
with inactive as (

    select distinct
        person_id,
        evidenced_at

    from {{ ref('dim_suppression') }}
    where scope = 'regular_letters'
        and state = 'inactive'

),

people as (

    select * from {{ ref('dim_person') }}
    where primary_email is not null

),

silent as (

    select
        people.primary_email as email,
        people.person_id,
        people.first_name,
        people.last_name,
        {{ utc_date('inactive.evidenced_at') }} as inactive_since,
        case
            when inactive.evidenced_at <= {{ add_seconds(run_at(), -86400 * (var('exclude_after_days') - var('inactive_suppression_days'))) }}
                then 'exclude'
            else 'reactivate'
        end as next_step

    from inactive
    inner join people
        on inactive.person_id = people.person_id

)

select * from silent
