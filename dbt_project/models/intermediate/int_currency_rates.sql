{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

{%- set beginning = "cast('1900-01-01' as date)" -%}
{%- set end = "cast('9999-12-31' as date)" %}

with currencies as (

    select * from {{ ref('stg_bitrix__currencies') }}

),

currency_rates as (

    select * from {{ ref('stg_bitrix__currency_rates') }}

),

base_currency as (

    select max(currency) as currency
    from currencies
    where is_base

),

-- what holds until the first rate with a date
default_rates as (

    select
        currency,
        {{ beginning }} as valid_from,
        case when is_base then 1 else base_rate end as base_rate

    from currencies
    where is_base
        or base_rate is not null

),

dated_rates as (

    select
        currency_rates.currency,
        currency_rates.valid_from,
        currency_rates.rate as base_rate

    from currency_rates
    cross join base_currency
    where currency_rates.rate is not null
        and currency_rates.valid_from > {{ beginning }}
        and currency_rates.currency <> coalesce(base_currency.currency, '')
        and (currency_rates.base_currency is null or currency_rates.base_currency = base_currency.currency)

),

rates as (

    select * from default_rates
    union all
    select * from dated_rates

),

periods as (

    select
        currency,
        valid_from,
        coalesce(lead(valid_from) over (partition by currency order by valid_from), {{ end }}) as valid_to,
        cast(base_rate as numeric(26, 12)) as base_rate

    from rates

)

select * from periods
