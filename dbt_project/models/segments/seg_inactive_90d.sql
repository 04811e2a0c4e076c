{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 20}}) }}

-- People who have been getting letters and have not opened or clicked one in person for `inactive_days`.
with people as (

    select
        *,
        coalesce(
            greatest(last_opened_at, last_clicked_at),
            last_opened_at,
            last_clicked_at
        ) as last_engaged_at

    from {{ ref('dim_person') }}

),

inactive as (

    select
        primary_email as email,
        person_id,
        first_name,
        last_name,
        {{ utc_date('last_engaged_at') }} as last_engaged_on

    from people
    where primary_email is not null
        -- those who joined yesterday have had no chance yet
        and first_sent_at <= {{ add_seconds(run_at(), -86400 * var('inactive_days')) }}
        and (
            last_engaged_at is null
            or last_engaged_at <= {{ add_seconds(run_at(), -86400 * var('inactive_days')) }}
        )

)

select * from inactive
