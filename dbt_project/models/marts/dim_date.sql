-- 40 years of days are enough for a list of e-mail addresses
with days as (

    select
        cast(
            {{ dbt.dateadd(
                'day',
                'cast(generated_number - 1 as integer)',
                "cast('" ~ var('calendar_start') ~ "' as date)"
            ) }}
            as date
        ) as date_day

    from ({{ dbt.generate_series(14610) }}) as series

),

-- 2001-01-01 was a Monday
numbered as (

    select
        date_day,
        cast(mod({{ dbt.datediff("cast('2001-01-01' as date)", 'date_day', 'day') }} + 7000, 7) + 1 as integer)
            as weekday

    from days
    where date_day <= {{ utc_date(run_at()) }}

),

final as (

    select
        date_day,
        cast({{ dbt.date_trunc('week', 'date_day') }} as date) as week_start,
        cast({{ dbt.date_trunc('month', 'date_day') }} as date) as month_start,
        cast({{ dbt.date_trunc('quarter', 'date_day') }} as date) as quarter_start,
        cast({{ dbt.date_trunc('year', 'date_day') }} as date) as year_start,
        weekday,
        weekday > 5 as is_weekend

    from numbered

)

select * from final
