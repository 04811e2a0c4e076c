with addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}

),

consents as (

    select
        email,
        max(updated_at) as consented_at

    from addresses
    where consent_status = 'accepted'
        and email is not null
        and updated_at is not null
        and not is_deleted
    group by email

)

select * from consents
