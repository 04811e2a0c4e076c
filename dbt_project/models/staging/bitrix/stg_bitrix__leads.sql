with source as (

    select * from {{ source('bitrix', 'b_crm_lead') }}

),

renamed as (

    select
        -- ids
        id as lead_id,
        nullif(contact_id, 0) as contact_id,
        nullif(company_id, 0) as company_id,
        nullif(assigned_by_id, 0) as responsible_id,

        -- text
        status_id as status_code,
        case status_semantic_id
            when 'P' then 'in_progress'
            when 'S' then 'converted'
            when 'F' then 'junk'
            else 'unknown'
        end as status,
        trim(currency_id) as currency,
        trim(account_currency_id) as account_currency,

        -- numerics
        opportunity_account as amount,
        opportunity as original_amount,

        -- timestamps
        {{ source_time_to_utc('date_create') }} as created_at,
        {{ source_time_to_utc('date_closed') }} as closed_at

    from source
    where _deleted_at is null

)

select * from renamed
