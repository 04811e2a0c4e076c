with source as (

    select * from {{ source('bitrix', 'b_catalog_currency') }}

),

renamed as (

    select
        -- ids
        trim(currency) as currency,

        -- numerics
        amount / nullif(amount_cnt, 0) as base_rate,

        -- booleans
        base = 'Y' as is_base

    from source
    where _deleted_at is null

)

select * from renamed
