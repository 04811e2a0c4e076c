-- An amount was typed in, Bitrix does not tell it in the base currency, and there is no rate to convert it by.

with cards as (

    select 'lead' as card_type, lead_id as card_id, amount, original_amount, currency
    from {{ ref('stg_bitrix__leads') }}
    union all
    select 'deal' as card_type, deal_id as card_id, amount, original_amount, currency
    from {{ ref('stg_bitrix__deals') }}

)

select cards.*
from cards
left join {{ ref('stg_bitrix__currencies') }} as currencies
    on cards.currency = currencies.currency
where cards.amount is null
    and cards.original_amount <> 0
    and currencies.base_rate is null
