with source as (

    select * from {{ source('esp', 'events') }}

),

renamed as (

    select
        -- ids
        esp || ':' || account || ':' || external_id as event_id,
        esp,
        account,

        -- text
        {{ normalize_email('email') }} as email,
        event_type,
        bounce_kind,

        -- timestamps
        occurred_at

    from source
    where _deleted_at is not null

)

select * from renamed
