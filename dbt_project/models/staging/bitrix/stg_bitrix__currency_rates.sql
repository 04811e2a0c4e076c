with source as (

    select * from {{ source('bitrix', 'b_catalog_currency_rate') }}

),

renamed as (

    select
        -- ids
        id as currency_rate_id,

        -- text
        trim(currency) as currency,
        nullif(trim(base_currency), '') as base_currency,

        -- numerics
        nullif(rate, 0) / nullif(rate_cnt, 0) as rate,

        -- timestamps
        date_rate as valid_from

    from source
    where _deleted_at is null

)

select * from renamed
