with source as (

    select * from {{ source('ops', 'loads') }}

),

renamed as (

    select
        -- ids
        load_id,

        -- text
        target,
        strategy,

        -- timestamps
        finished_at

    from source

)

select * from renamed
