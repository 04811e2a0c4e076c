{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key=['identifier_number', 'other_identifier_number'],
    unlogged=false,
    indexes=[{'columns': ['identifier_number']}, {'columns': ['other_identifier_number']}, {'columns': ['_built_at']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#-
    Only links that came or went are written; one that went stays with `is_linked` false, which tells int_identifiers_joined whom to look
    at again.

    Whether an e-mail or phone joins depends on all who hold it, and for a lead on what else that lead holds. So an increment goes from
    the cards whose holdings changed to all that they hold or held, and writes the links of whoever holds one of those; to judge what these
    hold it reads all holders of that.
-#}
{%- set since = incremental_since() %}

{% if since -%}
with changed_cards as (

    select distinct identifier_number
    from {{ ref('int_card_holdings') }}
    where _built_at > {{ since }}

),

touched_identifiers as (

    select distinct other_identifier_number
    from {{ ref('int_card_holdings') }}
    where {{ among('identifier_number', 'select identifier_number from changed_cards') }}

),

cards_to_write as (

    select identifier_number
    from changed_cards

    union

    select identifier_number
    from {{ ref('int_card_holdings') }}
    where {{ among('other_identifier_number', 'select other_identifier_number from touched_identifiers') }}

),

identifiers_to_judge as (

    select distinct other_identifier_number
    from {{ ref('int_card_holdings') }}
    where {{ among('identifier_number', 'select identifier_number from cards_to_write') }}

),

cards_to_read as (

    select identifier_number
    from cards_to_write

    union

    select identifier_number
    from {{ ref('int_card_holdings') }}
    where {{ among('other_identifier_number', 'select other_identifier_number from identifiers_to_judge') }}

),

held as (

    select * from {{ ref('int_card_holdings') }}
    where is_held
        and {{ among('identifier_number', 'select identifier_number from cards_to_read') }}

),
{%- else -%}
with held as (

    select * from {{ ref('int_card_holdings') }}
    where is_held

),
{%- endif %}

card_links as (

    select * from held
    where other_kind in ('contact', 'lead', 'company', 'user')
        and identifier_number <> other_identifier_number

),

owned as (

    select
        other_identifier_number as identifier_number,
        other_kind as kind,
        kind as card_type,
        identifier_number as card_number

    from held
    where other_kind in ('email', 'phone')

),

lead_contacts as (

    select
        identifier_number as lead_number,
        other_identifier_number as contact_number

    from card_links
    where kind = 'lead'
        and other_kind = 'contact'

),

lead_identifiers as (

    select
        card_number as lead_number,
        min(identifier_number) as first_number,
        max(identifier_number) as last_number

    from owned
    where card_type = 'lead'
    group by card_number

),

-- a lead speaks for its contact, and a lead of nobody for whoever has its other identifier: one person may leave many leads
spoken_for as (

    select
        identifier_number,
        card_type,
        card_number as speaker_number

    from owned
    where card_type <> 'lead'

    union

    select
        owned.identifier_number,
        case when lead_contacts.contact_number is null then 'lead' else 'contact' end as card_type,
        coalesce(
            lead_contacts.contact_number,
            nullif(lead_identifiers.first_number, owned.identifier_number),
            nullif(lead_identifiers.last_number, owned.identifier_number)
        ) as speaker_number

    from owned
    inner join lead_identifiers
        on owned.card_number = lead_identifiers.lead_number
    left join lead_contacts
        on owned.card_number = lead_contacts.lead_number
    where owned.card_type = 'lead'

),

counted as (

    select
        identifier_number,
        sum(case when card_type = 'contact' then 1 else 0 end) as contact_count,
        sum(case when card_type = 'lead' then 1 else 0 end) as lead_count,
        sum(case when card_type = 'user' then 1 else 0 end) as user_count,
        sum(case when card_type = 'company' then 1 else 0 end) as company_count

    from spoken_for
    where speaker_number is not null
    group by identifier_number

),

-- what stands on a company's card is the company's: with two people of it, it is no sign that they are one
shared as (

    select identifier_number
    from counted
    where company_count > {{ var('shared_identifier_limit') }}
        or greatest(contact_count, lead_count, user_count)
            > case when company_count > 0 then 1 else {{ var('shared_identifier_limit') }} end

),

own as (

    select owned.*
    from owned
    left join shared
        on owned.identifier_number = shared.identifier_number
    where shared.identifier_number is null

),

-- a lead that has nothing else goes to the shared mailbox it came from
last_resorts as (

    select
        owned.card_number,
        min(owned.identifier_number) as identifier_number

    from owned
    left join own
        on owned.card_number = own.card_number
    left join lead_contacts
        on owned.card_number = lead_contacts.lead_number
    where owned.card_type = 'lead'
        and owned.kind = 'email'
        and own.card_number is null
        and lead_contacts.lead_number is null
    group by owned.card_number

),

links as (

    select
        card_number as identifier_number,
        identifier_number as other_identifier_number
    from own

    union all

    select
        identifier_number,
        other_identifier_number
    from card_links

    union all

    select
        card_number,
        identifier_number
    from last_resorts

)

{%- if since %},

links_to_write as (

    select links.*
    from links
    inner join cards_to_write
        on links.identifier_number = cards_to_write.identifier_number

),

stored as (

    select * from {{ this }}
    where {{ among('identifier_number', 'select identifier_number from cards_to_write') }}

),

changed as (

    select
        coalesce(links.identifier_number, stored.identifier_number) as identifier_number,
        coalesce(links.other_identifier_number, stored.other_identifier_number) as other_identifier_number,
        links.identifier_number is not null as is_linked

    from links_to_write as links
    full outer join stored
        on links.identifier_number = stored.identifier_number
            and links.other_identifier_number = stored.other_identifier_number
    where (links.identifier_number is not null) <> coalesce(stored.is_linked, false)

)
{%- else %},

changed as (

    select
        identifier_number,
        other_identifier_number,
        true as is_linked

    from links

)
{%- endif %}

select
    *,
    {{ built_at() }} as _built_at

from changed
