with source as (

    select * from {{ source('bitrix', 'b_sale_order_payment') }}

),

renamed as (

    select
        -- ids
        id as payment_id,
        order_id,

        -- text
        trim(currency) as currency,

        -- numerics
        sum as amount,

        -- booleans
        paid = 'Y' and is_return = 'N' as is_paid,
        is_return <> 'N' as is_returned,

        -- timestamps
        {{ source_time_to_utc('date_paid') }} as paid_changed_at,
        pay_return_date as returned_on

    from source
    where _deleted_at is null

)

select * from renamed
