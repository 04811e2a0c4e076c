with addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}
    where email is not null
        and not is_deleted

),

subscribers as (

    select * from {{ ref('stg_esp__contacts') }}
    where email is not null
        and not is_deleted

),

contacts as (

    select * from {{ ref('stg_bitrix__contacts') }}

),

preferred_emails as (

    select
        contact_id,
        email as preferred_email

    from {{ ref('int_contact_emails_ranked') }}
    where preference = 1

),

suppressions as (

    select * from {{ ref('dim_suppression') }}
    where scope = 'everything'

),

{{ list_change_ctes() }}

monthly_joins as (

    select
        joined_month as month,
        count(*) as joined

    from changes
    group by joined_month

),

monthly_losses as (

    select
        left_month as month,
        sum(case when way_out = 'unsubscribed' then 1 else 0 end) as unsubscribed,
        sum(case when way_out = 'bounced' then 1 else 0 end) as bounced,
        sum(case when way_out = 'complained' then 1 else 0 end) as complained

    from changes
    where left_month is not null
    group by left_month

),

first_month as (

    select min(joined_month) as month
    from changes

),

-- 50 years of months are enough for a list of e-mail addresses
months as (

    select
        cast(
            {{ dbt.dateadd('month', 'cast(generated_number - 1 as integer)', 'first_month.month') }}
            as date
        ) as month

    from ({{ dbt.generate_series(600) }}) as series
    cross join first_month

),

counted as (

    select
        months.month,
        coalesce(monthly_joins.joined, 0) as joined,
        coalesce(monthly_losses.unsubscribed, 0) as unsubscribed,
        coalesce(monthly_losses.bounced, 0) as bounced,
        coalesce(monthly_losses.complained, 0) as complained

    from months
    left join monthly_joins
        on months.month = monthly_joins.month
    left join monthly_losses
        on months.month = monthly_losses.month
    where months.month <= {{ utc_month(run_at()) }}

),

final as (

    select
        month,
        cast(joined as bigint) as joined,
        cast(unsubscribed as bigint) as unsubscribed,
        cast(bounced as bigint) as bounced,
        cast(complained as bigint) as complained,
        cast(
            sum(joined - unsubscribed - bounced - complained) over (
                order by month
                rows between unbounded preceding and current row
            ) as bigint
        ) as active

    from counted

)

select * from final
