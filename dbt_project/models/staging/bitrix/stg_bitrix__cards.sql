{#
    The four kinds of cards in one shape, with those that are gone: who a card belonged to does not change when it is deleted.
    A service's account and a company of our own are nobody's.
#}
with contacts as (

    select * from {{ source('bitrix', 'b_crm_contact') }}

),

leads as (

    select * from {{ source('bitrix', 'b_crm_lead') }}

),

companies as (

    select * from {{ source('bitrix', 'b_crm_company') }}

),

users as (

    select * from {{ source('bitrix', 'b_user') }}

),

renamed as (

    select
        -- ids
        'contact' as card_type,
        cast(id as bigint) as card_id,
        cast(null as bigint) as contact_id,
        cast(nullif(lead_id, 0) as bigint) as lead_id,
        _load_id,

        -- text
        cast(null as {{ dbt.type_string() }}) as email,
        cast(null as {{ dbt.type_string() }}) as mobile_phone,
        cast(null as {{ dbt.type_string() }}) as other_phone,

        -- booleans
        false as is_nobody,
        _deleted_at is not null as is_deleted

    from contacts

    union all

    select
        'lead' as card_type,
        id as card_id,
        nullif(contact_id, 0) as contact_id,
        null as lead_id,
        _load_id,
        null as email,
        null as mobile_phone,
        null as other_phone,
        false as is_nobody,
        _deleted_at is not null as is_deleted

    from leads

    union all

    select
        'company' as card_type,
        id as card_id,
        null as contact_id,
        null as lead_id,
        _load_id,
        null as email,
        null as mobile_phone,
        null as other_phone,
        coalesce(is_my_company, 'N') = 'Y' as is_nobody,
        _deleted_at is not null as is_deleted

    from companies

    union all

    select
        'user' as card_type,
        id as card_id,
        null as contact_id,
        null as lead_id,
        _load_id,
        {{ normalize_email('email') }} as email,
        {{ normalize_phone('personal_mobile') }} as mobile_phone,
        {{ normalize_phone('personal_phone') }} as other_phone,
        coalesce(external_auth_id, '') in ({{ service_accounts() }}) as is_nobody,
        _deleted_at is not null as is_deleted

    from users

)

select * from renamed
