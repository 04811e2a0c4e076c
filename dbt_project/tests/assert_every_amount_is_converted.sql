-- An amount was typed in, Bitrix does not tell it in the base currency, and there is no rate to convert it by.

with amounts as (

    select 'lead' as card_type, lead_id as card_id, amount, original_amount, currency
    from {{ ref('stg_bitrix__leads') }}
    union all
    select 'deal' as card_type, deal_id as card_id, amount, original_amount, currency
    from {{ ref('stg_bitrix__deals') }}
    union all
    select 'order' as card_type, order_id as card_id, null as amount, amount as original_amount, currency
    from {{ ref('stg_bitrix__orders') }}

),

converted as (

    select distinct currency
    from {{ ref('int_currency_rates') }}

)

select amounts.*
from amounts
left join converted
    on amounts.currency = converted.currency
where amounts.amount is null
    and amounts.original_amount <> 0
    and converted.currency is null
