{#
    An archived order leaves `b_sale_order`; its last row there, soft-deleted, still has what the archive does not keep. The
    archive's own rows stay for orders that were archived before the first copy. The table is read under two names: what one name
    stands for twice PostgreSQL writes down whole before it looks for the few rows that are asked for.
#}
with source as (

    select * from {{ source('bitrix', 'b_sale_order') }}

),

last_seen as (

    select * from {{ source('bitrix', 'b_sale_order') }}

),

archive as (

    select * from {{ source('bitrix', 'b_sale_order_archive') }}
    where _deleted_at is null

),

live as (

    select
        id,
        user_id,
        payed,
        date_payed,
        canceled,
        date_canceled,
        status_id,
        price,
        sum_paid,
        currency,
        date_insert,
        date_update,
        false as is_archived

    from source
    where _deleted_at is null

),

archived as (

    select
        archive.order_id as id,
        archive.user_id,
        archive.payed,
        last_seen.date_payed,
        archive.canceled,
        last_seen.date_canceled,
        archive.status_id,
        archive.price,
        archive.sum_paid,
        archive.currency,
        archive.date_insert,
        archive.date_archived as date_update,
        true as is_archived

    from archive
    left join last_seen
        on archive.order_id = last_seen.id
    where last_seen.id is null
        or last_seen._deleted_at is not null

),

orders as (

    select * from live
    union all
    select * from archived

),

renamed as (

    select
        -- ids
        id as order_id,
        nullif(user_id, 0) as user_id,

        -- text
        trim(status_id) as status_code,
        trim(currency) as currency,

        -- numerics
        price as amount,
        sum_paid as paid_amount,

        -- booleans
        payed = 'Y' as is_paid,
        canceled = 'Y' as is_canceled,
        is_archived,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as created_at,
        {{ source_time_to_utc('date_update') }} as updated_at,
        {{ source_time_to_utc('date_payed') }} as paid_at,
        {{ source_time_to_utc('date_canceled') }} as canceled_at

    from orders

)

select * from renamed
