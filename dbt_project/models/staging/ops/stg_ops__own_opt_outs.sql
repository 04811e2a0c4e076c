with source as (

    select * from {{ source('ops', 'acknowledged') }}

),

renamed as (

    select
        -- ids
        destination as esp,
        account,

        -- text
        {{ normalize_email('record_key') }} as email,

        -- timestamps
        confirmed_at

    from source
    where audience = 'suppressions'
        and value = 'suppressed'
        -- Bitrix contacts are known by number, not by address
        and destination <> 'bitrix'

)

select * from renamed
