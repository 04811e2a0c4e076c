{%- set month_seconds = 30 * 86400 -%}

with first_letters as (

    select * from {{ ref('int_people_first_letters') }}

),

conversions as (

    select * from {{ ref('fct_conversions') }}
    where is_revenue

),

cohorts as (

    select
        letter_id,
        min(first_sent_at) as began_at,
        count(*) as people_count

    from first_letters
    group by letter_id

),

sales as (

    select
        first_letters.letter_id,
        floor(
            {{ seconds_between('first_letters.first_sent_at', 'conversions.converted_at') }} / {{ month_seconds }}
        ) as month_number,
        conversions.person_id,
        conversions.amount

    from conversions
    inner join first_letters
        on conversions.person_id = first_letters.person_id
            and conversions.converted_at >= first_letters.first_sent_at

),

monthly_sales as (

    select
        letter_id,
        month_number,
        count(distinct person_id) as buyer_count,
        count(*) as sale_count,
        sum(amount) as revenue

    from sales
    group by
        letter_id,
        month_number

),

-- the first month of every cohort is shown, so that a cohort that bought nothing is seen too
months as (

    select letter_id, 0 as month_number from cohorts
    union
    select letter_id, month_number from monthly_sales

),

final as (

    select
        months.letter_id || ':' || cast(months.month_number as integer) as cohort_month_id,
        months.letter_id,
        cohorts.began_at,
        cast(months.month_number as integer) as month_number,
        cast(cohorts.people_count as bigint) as people_count,
        cast(coalesce(monthly_sales.buyer_count, 0) as bigint) as buyer_count,
        cast(coalesce(monthly_sales.sale_count, 0) as bigint) as sale_count,
        cast(coalesce(monthly_sales.revenue, 0) as numeric(18, 2)) as revenue,
        cast(
            sum(coalesce(monthly_sales.revenue, 0)) over (
                partition by months.letter_id
                order by months.month_number
                rows between unbounded preceding and current row
            )
            as numeric(18, 2)
        ) as revenue_to_date

    from months
    inner join cohorts
        on months.letter_id = cohorts.letter_id
    left join monthly_sales
        on months.letter_id = monthly_sales.letter_id
            and months.month_number = monthly_sales.month_number

)

select * from final
