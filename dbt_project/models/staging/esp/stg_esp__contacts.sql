with source as (

    select * from {{ source('esp', 'contacts') }}

),

renamed as (

    select
        -- ids
        esp || ':' || account || ':' || external_id as subscriber_id,
        esp,
        account,
        external_id,
        list_id,
        _load_id,

        -- text
        {{ normalize_email('email') }} as email,
        status,
        status_reason,
        fields as custom_fields,
        {{ row_as_json('tags') }} as tags,

        -- booleans
        _deleted_at is not null as is_deleted,

        -- timestamps
        opted_in_at,
        changed_at

    from source

)

select * from renamed
