with addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}

),

choices as (

    select * from {{ ref('stg_inbox__choices') }}

),

consents as (

    select
        email,
        updated_at as consented_at

    from addresses
    where consent_status = 'accepted'
        and email is not null
        and updated_at is not null
        and not is_deleted

    union all

    select
        email,
        chosen_at as consented_at

    from choices
    where not is_leaving

),

final as (

    select
        email,
        max(consented_at) as consented_at

    from consents
    group by email

)

select * from final
