with source as (

    select * from {{ source('ops', 'own_writes') }}

),

renamed as (

    select
        -- ids
        card_type,
        card_id,

        -- timestamps
        changed_before,
        changed_after

    from source
    where changed_after is not null

)

select * from renamed
