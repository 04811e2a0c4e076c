with source as (

    select * from {{ source('ops', 'holdouts') }}

),

renamed as (

    select
        -- ids
        segment,
        person_id,

        -- numbers
        holdout_pct,

        -- booleans
        is_held_out,

        -- timestamps
        assigned_at

    from source

)

select * from renamed
