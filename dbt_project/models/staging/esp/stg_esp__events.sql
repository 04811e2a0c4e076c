with source as (

    select * from {{ source('esp', 'events') }}

),

renamed as (

    select
        -- ids
        esp || ':' || account || ':' || external_id as event_id,
        esp || ':' || account || ':' || campaign_id as letter_id,
        esp || ':' || account || ':' || campaign_id || ':'
        || {{ dbt.hash(normalize_email('email')) }} as message_id,
        esp,
        account,

        -- text
        {{ normalize_email('email') }} as email,
        event_type,
        bounce_kind,
        nullif(url, '') as url,

        -- booleans
        is_proxy,
        _deleted_at is not null as is_deleted,

        -- timestamps
        occurred_at

    from source

)

select * from renamed
