{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 100}}) }}

-- People whose birthday is today or within the next `birthday_days` days. Those born on 29 February have it on the 28th in
-- other years.
with days as (

    {% for days_left in range(var('birthday_days') + 1) -%}
    select
        {{ days_left }} as days_left,
        cast({{ dbt.dateadd('day', days_left, utc_date(run_at())) }} as date) as day,
        cast({{ dbt.dateadd('day', days_left + 1, utc_date(run_at())) }} as date) as next_day
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

people as (

    select * from {{ ref('dim_person') }}
    where primary_email is not null
        and birth_date is not null

),

birthdays as (

    select
        people.primary_email as email,
        people.person_id,
        people.first_name,
        days.day as birthday_on,
        days.days_left

    from people
    inner join days
        on extract(month from people.birth_date) = extract(month from days.day)
            and (
                extract(day from people.birth_date) = extract(day from days.day)
                or (
                    extract(month from days.day) = 2
                    and extract(day from people.birth_date) = 29
                    and extract(day from days.day) = 28
                    and extract(month from days.next_day) = 3
                )
            )

)

select * from birthdays
