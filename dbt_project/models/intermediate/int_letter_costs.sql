with letters as (

    select * from {{ ref('int_letters') }}

),

letter_costs as (

    select * from {{ ref('letter_costs') }}

),

sending_prices as (

    select * from {{ ref('sending_prices') }}

),

prices_with_end as (

    select
        source,
        price_per_thousand,
        currency,
        valid_from,
        lead(valid_from) over (
            partition by source
            order by valid_from
        ) as valid_to

    from sending_prices

),

priced as (

    select
        letters.letter_id,
        cast(letters.sent_count * prices_with_end.price_per_thousand / 1000 as numeric(18, 2)) as cost,
        prices_with_end.currency

    from letters
    inner join prices_with_end
        on letters.source = prices_with_end.source
            and {{ utc_date('letters.first_sent_at') }} >= prices_with_end.valid_from
            and (prices_with_end.valid_to is null or {{ utc_date('letters.first_sent_at') }} < prices_with_end.valid_to)

),

final as (

    select
        letters.letter_id,
        coalesce(letter_costs.cost, priced.cost) as cost,
        case when letter_costs.cost is not null then letter_costs.currency else priced.currency end as cost_currency,
        case when letter_costs.cost is not null then 'given' else 'price_per_thousand' end as cost_basis

    from letters
    left join letter_costs
        on letters.letter_id = letter_costs.letter_id
    left join priced
        on letters.letter_id = priced.letter_id
    where coalesce(letter_costs.cost, priced.cost) is not null

)

select * from final
