-- Everyone who was sent a letter is in one cohort, and all revenue after a first letter is in one month of one.
with cohorts as (

    select
        sum(case when month_number = 0 then people_count else 0 end) as people_count,
        sum(revenue) as revenue

    from {{ ref('mart_cohort_revenue') }}

),

people as (

    select count(*) as people_count
    from {{ ref('int_people_first_letters') }}

),

sales as (

    select coalesce(sum(conversions.amount), 0) as revenue
    from {{ ref('fct_conversions') }} as conversions
    inner join {{ ref('int_people_first_letters') }} as first_letters
        on conversions.person_id = first_letters.person_id
            and conversions.converted_at >= first_letters.first_sent_at
    where conversions.is_revenue

)

select cohorts.*, people.people_count as expected_people_count, sales.revenue as expected_revenue
from cohorts
cross join people
cross join sales
where coalesce(cohorts.people_count, 0) <> people.people_count
    or coalesce(cohorts.revenue, 0) <> sales.revenue
