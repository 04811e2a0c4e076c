with source as (

    select * from {{ source('esp', 'links') }}

),

renamed as (

    select
        -- ids
        esp || ':' || account || ':' || external_id as link_id,
        esp || ':' || account || ':' || campaign_id as letter_id,
        esp,
        account,

        -- text
        url,

        -- numbers; null is what the service does not say, which is not zero
        clicks as click_count,
        clicked as clicked_count

    from source
    where _deleted_at is null

)

select * from renamed
