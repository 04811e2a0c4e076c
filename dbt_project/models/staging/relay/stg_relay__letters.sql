{#- Column by column: recipient, subject and body are not for the models, and their role may not read them. -#}
with source as (

    select
        outbox_id,
        source,
        event_name,
        template_id,
        site_id,
        language,
        state,
        attempts,
        queued_at,
        settled_at,
        esp_account,
        message_ref

    from {{ source('relay', 'outbox') }}

),

renamed as (

    select
        -- ids
        outbox_id,
        template_id,
        site_id,
        esp_account as account,
        message_ref,

        -- text
        source as site_account,
        event_name,
        language,
        {{ dbt.split_part('esp_account', "'__'", 1) }} as esp,
        state,

        -- numbers
        attempts,

        -- timestamps
        queued_at,
        settled_at

    from source

)

select * from renamed
