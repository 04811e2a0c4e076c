with emails as (

    select * from {{ ref('stg_bitrix__multi_field_emails') }}
    where entity_type = 'lead'
        and email is not null

),

-- the order in which the sender module itself picks an address of a card (bitrix.md 2.4)
ranked as (

    select
        entity_id as lead_id,
        email,
        row_number() over (
            partition by entity_id
            order by
                case value_type when 'MAILING' then 1 when 'HOME' then 2 else 3 end,
                multi_field_id
        ) as preference

    from emails

)

select * from ranked
