with emails as (

    select * from {{ ref('stg_bitrix__multi_field_emails') }}
    where entity_type = 'lead'
        and email is not null

),

ranked as (

    select
        entity_id as lead_id,
        email,
        {{ address_preference() }} as preference

    from emails

)

select * from ranked
