{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with linked as (

    select * from {{ ref('int_identifiers_linked') }}

),

contacts as (

    select * from {{ ref('stg_bitrix__contacts') }}

),

leads as (

    select * from {{ ref('stg_bitrix__leads') }}

),

multi_field_emails as (

    select * from {{ ref('stg_bitrix__multi_field_emails') }}

),

addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}

),

abuse_reports as (

    select * from {{ ref('stg_bitrix__abuse_reports') }}

),

blacklisted_emails as (

    select * from {{ ref('stg_bitrix__blacklisted_emails') }}

),

subscribers as (

    select * from {{ ref('stg_esp__contacts') }}

),

esp_events as (

    select * from {{ ref('stg_esp__events') }}

),

identifiers as (

    select kind, identifier from linked
    union
    select other_kind, other_identifier from linked
    union
    select 'contact', cast(contact_id as text) from contacts
    union
    select 'lead', cast(lead_id as text) from leads
    union
    select 'email', email from multi_field_emails where entity_type in ('contact', 'lead')
    union
    select 'email', email from addresses
    union
    select 'email', email from abuse_reports
    union
    select 'email', email from blacklisted_emails
    union
    select 'email', email from subscribers
    union
    select 'email', email from esp_events

),

-- numbered so that the smallest number of a person is their first CRM contact, else their first address, else their lead
numbered as (

    select
        row_number() over (
            order by
                case kind when 'contact' then 1 when 'email' then 2 else 3 end,
                length(case when kind <> 'email' then identifier end),
                identifier
        ) as identifier_number,
        kind,
        identifier,
        case kind
            when 'email' then 'email:' || {{ dbt.hash('identifier') }}
            else 'bitrix:' || kind || ':' || identifier
        end as identifier_id

    from identifiers
    where identifier is not null

)

select * from numbered
