with source as (

    select * from {{ source('bitrix', 'b_crm_contact') }}

),

own_writes as (

    select * from {{ ref('stg_ops__own_writes') }}
    where card_type = 'contact'

),

renamed as (

    select
        -- ids
        id as contact_id,
        nullif(lead_id, 0) as lead_id,
        nullif(company_id, 0) as company_id,
        nullif(assigned_by_id, 0) as responsible_id,

        -- text
        nullif(trim({{ decode_emoji('name') }}), '') as first_name,
        nullif(trim({{ decode_emoji('last_name') }}), '') as last_name,

        -- timestamps
        birthdate as birth_date,
        {{ source_time_to_utc('date_create') }} as created_at,
        {{ source_time_to_utc('date_modify') }} as modified_at

    from source
    where _deleted_at is null

),

-- what we wrote ourselves is no change of the card: it is as old as it was before
final as (

    select
        renamed.contact_id,
        renamed.lead_id,
        renamed.company_id,
        renamed.responsible_id,
        renamed.first_name,
        renamed.last_name,
        renamed.birth_date,
        renamed.created_at,
        case when own_writes.card_id is null then renamed.modified_at else own_writes.changed_before end as modified_at

    from renamed
    left join own_writes
        on renamed.contact_id = own_writes.card_id
            and renamed.modified_at = own_writes.changed_after

)

select * from final
