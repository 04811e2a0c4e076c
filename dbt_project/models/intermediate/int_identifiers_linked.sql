{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with multi_field_emails as (

    select * from {{ ref('stg_bitrix__multi_field_emails') }}

),

recipients as (

    select * from {{ ref('stg_bitrix__recipients') }}

),

addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}

),

contacts as (

    select * from {{ ref('stg_bitrix__contacts') }}

),

leads as (

    select * from {{ ref('stg_bitrix__leads') }}

),

-- a letter was sent to this address as that contact's: ties an old address to the contact who has since changed it
recipient_contacts as (

    select distinct
        address_id,
        crm_contact_id as contact_id

    from recipients
    where crm_contact_id is not null

),

contact_emails as (

    select
        multi_field_emails.entity_id as contact_id,
        multi_field_emails.email

    from multi_field_emails
    inner join contacts
        on multi_field_emails.entity_id = contacts.contact_id
    where multi_field_emails.entity_type = 'contact'
        and multi_field_emails.email is not null

    union

    select
        recipient_contacts.contact_id,
        addresses.email

    from recipient_contacts
    inner join addresses
        on recipient_contacts.address_id = addresses.address_id
    where addresses.email is not null

),

shared_emails as (

    select email
    from contact_emails
    group by email
    having count(*) > {{ var('shared_identifier_limit') }}

),

lead_emails as (

    select distinct
        leads.lead_id,
        leads.contact_id,
        multi_field_emails.email

    from leads
    inner join multi_field_emails
        on leads.lead_id = multi_field_emails.entity_id
            and multi_field_emails.entity_type = 'lead'
    where multi_field_emails.email is not null

),

links as (

    select
        'contact' as kind,
        cast(contact_emails.contact_id as text) as identifier,
        'email' as other_kind,
        contact_emails.email as other_identifier

    from contact_emails
    left join shared_emails
        on contact_emails.email = shared_emails.email
    where shared_emails.email is null

    union all

    select
        'lead' as kind,
        cast(lead_id as text) as identifier,
        'contact' as other_kind,
        cast(contact_id as text) as other_identifier

    from leads
    where contact_id is not null

    union all

    -- a shared mailbox must not join contacts through their leads either; a lead that has nothing else goes to the mailbox
    select
        'lead' as kind,
        cast(lead_emails.lead_id as text) as identifier,
        'email' as other_kind,
        lead_emails.email as other_identifier

    from lead_emails
    left join shared_emails
        on lead_emails.email = shared_emails.email
    where shared_emails.email is null
        or lead_emails.contact_id is null

)

select * from links
