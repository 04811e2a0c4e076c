with source as (

    select * from {{ source('esp', 'campaigns') }}

),

renamed as (

    select
        -- ids
        esp || ':' || account || ':' || external_id as letter_id,
        esp,
        account,
        external_id as campaign_id,
        list_id,

        -- text
        nullif(title, '') as title,
        nullif(subject, '') as subject,
        status,
        nullif(utm_campaign, '') as utm_campaign,

        -- timestamps
        sent_at

    from source
    where _deleted_at is null

)

select * from renamed
