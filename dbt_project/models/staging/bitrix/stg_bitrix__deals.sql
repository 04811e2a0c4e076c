with source as (

    select * from {{ source('bitrix', 'b_crm_deal') }}

),

renamed as (

    select
        -- ids
        id as deal_id,
        nullif(lead_id, 0) as lead_id,
        nullif(contact_id, 0) as contact_id,
        nullif(company_id, 0) as company_id,

        -- text
        stage_id as stage_code,
        case stage_semantic_id
            when 'P' then 'in_progress'
            when 'S' then 'won'
            when 'F' then 'lost'
            else 'unknown'
        end as stage,
        trim(currency_id) as currency,
        trim(account_currency_id) as account_currency,

        -- numerics
        opportunity_account as amount,
        opportunity as original_amount,

        -- booleans
        coalesce(is_recurring, 'N') = 'Y' as is_recurring_template,

        -- timestamps
        {{ source_time_to_utc('date_create') }} as created_at,
        {{ source_time_to_utc('moved_time') }} as moved_at,
        {{ source_time_to_utc('closedate') }} as close_date_at

    from source
    where _deleted_at is null

)

select * from renamed
