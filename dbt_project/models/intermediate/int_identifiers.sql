{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{{ drop_unclaimed_identifiers() }}",
    unlogged=false,
    post_hook="{{ refresh_statistics(this) }}"
) }}

with claimed as (

    {{ claimed_identifiers() | indent(4) }}

),

unseen as (

    select
        claimed.kind,
        claimed.identifier,
        claimed.identifier_number

    from claimed
    {%- if is_incremental() %}
    left join {{ this }} as seen
        on claimed.identifier_number = seen.identifier_number
    where seen.identifier_number is null
    {%- endif %}
    group by
        claimed.kind,
        claimed.identifier,
        claimed.identifier_number

),

-- what a person is named after, in order of preference: their oldest contact, an address, an account, a lead, a company, a phone
named as (

    select
        identifier_number,
        kind,
        identifier,
        case when kind not in ('email', 'phone') then cast(identifier as bigint) end as card_id,
        case
            when kind in ('email', 'phone') then kind || ':' || {{ dbt.hash('identifier') }}
            else 'bitrix:' || kind || ':' || identifier
        end as identifier_id,
        case kind
            when 'contact' then 1
            when 'email' then 2
            when 'user' then 3
            when 'lead' then 4
            when 'company' then 5
            else 6
        end as naming_rank

    from unseen

)

select * from named
