with deals as (

    select * from {{ ref('int_deals') }}

),

credits as (

    select * from {{ ref('fct_attribution_credits') }}
    where model = '{{ var("crm_attribution_model") }}'
        and conversion_type in ('deal_created', 'deal_won')

),

conversions as (

    select * from {{ ref('fct_conversions') }}
    where conversion_type in ('deal_created', 'deal_won')

),

letters as (

    select * from {{ ref('dim_letter') }}

),

-- the sale, where there is one, speaks for the deal
told_conversions as (

    select
        deal_id,
        conversion_id,
        conversion_type,
        row_number() over (
            partition by deal_id
            order by case conversion_type when 'deal_won' then 1 else 2 end
        ) as place

    from conversions

),

letter_shares as (

    select
        told_conversions.deal_id,
        told_conversions.conversion_type,
        credits.letter_id,
        sum(credits.credit) as credit,
        max(credits.touched_at) as last_touched_at

    from told_conversions
    inner join credits
        on told_conversions.conversion_id = credits.conversion_id
    where told_conversions.place = 1
        and credits.letter_id is not null
    group by
        told_conversions.deal_id,
        told_conversions.conversion_type,
        credits.letter_id

),

ranked as (

    select
        *,
        row_number() over (
            partition by deal_id
            order by
                credit desc,
                last_touched_at desc,
                letter_id
        ) as place

    from letter_shares
    where credit > 0

),

final as (

    select
        deals.deal_id,
        deals.person_id,
        ranked.letter_id,
        coalesce(letters.title, letters.subject, ranked.letter_id) as letter,
        ranked.conversion_type,
        cast(ranked.credit as numeric(12, 10)) as credit,
        cast(round(ranked.credit * 100) as integer) as credit_percent,
        case when ranked.letter_id is not null then '{{ var("crm_attribution_model") }}' end as model

    from deals
    left join ranked
        on deals.deal_id = ranked.deal_id
            and ranked.place = 1
    left join letters
        on ranked.letter_id = letters.letter_id

)

select * from final
