with credits as (

    select * from {{ ref('fct_attribution_credits') }}
    where model = '{{ var("crm_attribution_model") }}'
        and letter_id is not null

),

conversions as (

    select * from {{ ref('fct_conversions') }}
    where person_id is not null

),

outcomes as (

    select * from {{ ref('int_message_outcomes') }}
    where person_id is not null
        and letter_id is not null
        and first_human_clicked_at is not null

),

merits as (

    select
        conversions.person_id,
        credits.letter_id,
        case when conversions.is_revenue then credits.amount else 0 end as revenue,
        credits.credit,
        0 as clicked_count,
        credits.touched_at as happened_at

    from credits
    inner join conversions
        on credits.conversion_id = conversions.conversion_id

    union all

    select
        person_id,
        letter_id,
        0 as revenue,
        0 as credit,
        1 as clicked_count,
        last_human_clicked_at as happened_at

    from outcomes

),

summed as (

    select
        person_id,
        letter_id,
        sum(revenue) as revenue,
        sum(credit) as credit,
        sum(clicked_count) as clicked_count,
        max(happened_at) as last_happened_at

    from merits
    group by
        person_id,
        letter_id

),

ranked as (

    select
        *,
        row_number() over (
            partition by person_id
            order by
                revenue desc,
                credit desc,
                clicked_count desc,
                last_happened_at desc,
                letter_id
        ) as place

    from summed

),

final as (

    select
        person_id,
        letter_id,
        cast(revenue as numeric(18, 2)) as revenue,
        cast(credit as numeric(28, 10)) as credit,
        cast(clicked_count as bigint) as clicked_count

    from ranked
    where place = 1

)

select * from final
