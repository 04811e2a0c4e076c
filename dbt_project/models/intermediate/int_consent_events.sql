{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='consent_event_key',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['consent_event_key'], 'unique': true}, {'columns': ['email']}, {'columns': ['_built_at']}],
    pre_hook="{{ plan_for_bulk(always=true) }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

-- depends_on: {{ ref('int_loads') }}
{%- set since = incremental_since() %}

{#
    Only a consent that came through the mailbox itself ends a suppression: the answer to a double opt-in letter, and what was
    chosen on the page that a letter's signed link opens. A box ticked on a form, a field an employee fills in or an ESP's sign-up
    date says that somebody agreed, not that the address's owner did.

    Subscribers are by far the most of it, so they are looked at when they came with a new load or their person changed; all else is worked
    out whole. What differs is written, and what is no more stays as `is_gone`: dim_consent has to hear of it.
#}
with consents as (

    select * from {{ ref('stg_bitrix__consents') }}

),

consent_items as (

    select * from {{ ref('stg_bitrix__consent_items') }}

),

agreements as (

    select * from {{ ref('stg_bitrix__consent_agreements') }}

),

agreement_versions as (

    select * from {{ ref('int_agreement_versions') }}

),

users as (

    select * from {{ ref('stg_bitrix__users') }}

),

orders as (

    select * from {{ ref('stg_bitrix__orders') }}

),

activities as (

    select * from {{ ref('stg_bitrix__activities') }}
    where card_type in ('lead', 'contact')

),

multi_field_emails as (

    select * from {{ ref('stg_bitrix__multi_field_emails') }}
    where entity_type in ('lead', 'contact')
        and email is not null

),

addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}

),

crm_consents as (

    select * from {{ ref('int_crm_consents') }}

),

{%- if since %}

changed_people as (

    select email
    from {{ ref('int_people_emails') }}
    where _built_at > {{ since }}

),

subscribers as (

    select * from {{ ref('stg_esp__contacts') }}
    where {{ only_new_loads(since) }}
        or email in (select email from changed_people)

),

-- an erased subscriber leaves no row behind
all_subscribers as (

    select 'esp:opt_in:' || subscriber_id as consent_event_id
    from {{ ref('stg_esp__contacts') }}

),

known as (

    select * from {{ this }}

),

held as (

    select * from known
    where kind <> 'esp_opt_in'

    union all

    select known.*
    from known
    left join all_subscribers
        on known.consent_event_id = all_subscribers.consent_event_id
    left join subscribers
        on known.consent_event_id = 'esp:opt_in:' || subscribers.subscriber_id
    where known.kind = 'esp_opt_in'
        and (all_subscribers.consent_event_id is null or subscribers.subscriber_id is not null)

),
{%- else %}

subscribers as (

    select * from {{ ref('stg_esp__contacts') }}

),
{%- endif %}

choices as (

    select * from {{ ref('stg_inbox__choices') }}
    where not is_leaving

),

suppression_evidence as (

    select * from {{ ref('int_suppression_evidence') }}

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}

),

item_emails as (

    select
        consent_id,
        min(email) as email

    from consent_items
    where email is not null
    group by consent_id

),

card_emails as (

    select
        entity_type as card_type,
        entity_id as card_id,
        email,
        row_number() over (
            partition by entity_type, entity_id
            order by
                case value_type when 'MAILING' then 1 when 'HOME' then 2 else 3 end,
                multi_field_id
        ) as preference

    from multi_field_emails

),

numbered as (

    select
        *,
        {{ text_to_integer('origin') }} as origin_id

    from consents

),

-- a record says who accepted by the value that was confirmed, by the account, or by what the form made
accepted as (

    select
        numbered.*,
        case numbered.originator when 'crm/webform' then 'lead' else activities.card_type end as card_type,
        case numbered.originator when 'crm/webform' then numbered.origin_id else activities.card_id end as card_id

    from numbered
    left join activities
        on numbered.origin_id = activities.activity_id
            and numbered.originator = 'crm/activity'

),

acceptors as (

    select
        accepted.consent_id,
        accepted.agreement_id,
        accepted.originator,
        accepted.consented_at,
        coalesce(item_emails.email, users.email, card_emails.email, buyers.email) as email,
        people_crm_cards.person_id as card_person_id

    from accepted
    left join item_emails
        on accepted.consent_id = item_emails.consent_id
    left join users
        on accepted.user_id = users.user_id
    left join card_emails
        on accepted.card_type = card_emails.card_type
            and accepted.card_id = card_emails.card_id
            and card_emails.preference = 1
    left join orders
        on accepted.origin_id = orders.order_id
            and accepted.originator = 'sale/order'
    left join users as buyers
        on orders.user_id = buyers.user_id
    left join people_crm_cards
        on accepted.card_type = people_crm_cards.card_type
            and accepted.card_id = people_crm_cards.card_id

),

versions as (

    select
        agreement_id,
        text_version,
        seen_from,
        row_number() over (
            partition by agreement_id
            order by seen_from
        ) as version_number,
        lead(seen_from) over (
            partition by agreement_id
            order by seen_from
        ) as seen_until

    from agreement_versions

),

-- what was accepted before we first saw the agreement is taken to be the first text we saw, and said to be uncertain
acceptances as (

    select
        'bitrix:agreement:' || acceptors.consent_id as consent_event_id,
        acceptors.email,
        acceptors.card_person_id,
        'given' as event_type,
        'bitrix' as source,
        case acceptors.originator when 'sender' then 'double_opt_in_record' else 'agreement' end as kind,
        acceptors.consented_at as occurred_at,
        true as is_time_known,
        acceptors.originator = 'sender'
        or coalesce(
            agreements.agreement_code in ('{{ var("mailing_agreement_codes") | join("', '") }}'),
            false
        ) as covers_mailing,
        false as ends_suppression,
        acceptors.agreement_id,
        agreements.agreement_name,
        versions.text_version,
        coalesce(acceptors.consented_at >= versions.seen_from, false) as is_text_version_certain,
        'b_consent_user_consent:' || acceptors.consent_id as evidence

    from acceptors
    left join agreements
        on acceptors.agreement_id = agreements.agreement_id
    left join versions
        on acceptors.agreement_id = versions.agreement_id
            and (versions.version_number = 1 or acceptors.consented_at >= versions.seen_from)
            and (versions.seen_until is null or acceptors.consented_at < versions.seen_until)

),

other_events as (

    select
        'bitrix:address:' || address_id as consent_event_id,
        email,
        cast(null as {{ dbt.type_string() }}) as card_person_id,
        'given' as event_type,
        'bitrix' as source,
        'double_opt_in' as kind,
        coalesce(updated_at, created_at) as occurred_at,
        updated_at is not null as is_time_known,
        updated_at is not null and not is_deleted as ends_suppression,
        cast(null as {{ dbt.type_string() }}) as text_version,
        'b_sender_contact.CONSENT_STATUS:' || address_id as evidence
    from addresses
    where consent_status = 'accepted'
        and email is not null

    union all

    select
        'bitrix:contact_field:' || contact_id as consent_event_id,
        email,
        person_id as card_person_id,
        'given' as event_type,
        'bitrix' as source,
        'crm_field' as kind,
        answered_at as occurred_at,
        is_time_known,
        false as ends_suppression,
        text_version,
        'b_uts_crm_contact:' || contact_id as evidence
    from crm_consents
    where is_given

    union all

    select
        'esp:opt_in:' || subscriber_id as consent_event_id,
        email,
        cast(null as {{ dbt.type_string() }}) as card_person_id,
        'given' as event_type,
        esp as source,
        'esp_opt_in' as kind,
        opted_in_at as occurred_at,
        true as is_time_known,
        false as ends_suppression,
        cast(null as {{ dbt.type_string() }}) as text_version,
        'raw_esp.contacts:' || subscriber_id as evidence
    from subscribers
    where opted_in_at is not null
        and email is not null

    union all

    select
        'preference_centre:choice:' || choice_id as consent_event_id,
        email,
        cast(null as {{ dbt.type_string() }}) as card_person_id,
        'given' as event_type,
        'preference_centre' as source,
        'preference_page' as kind,
        chosen_at as occurred_at,
        true as is_time_known,
        true as ends_suppression,
        text_version,
        'raw_inbox.choices:' || choice_id as evidence
    from choices

    union all

    select
        'withdrawal:' || {{ dbt.hash("email || ' ' || state || ' ' || evidence") }} as consent_event_id,
        email,
        cast(null as {{ dbt.type_string() }}) as card_person_id,
        case state when 'no_consent' then 'refused' else 'withdrawn' end as event_type,
        source,
        state as kind,
        evidenced_at as occurred_at,
        is_time_known,
        false as ends_suppression,
        cast(null as {{ dbt.type_string() }}) as text_version,
        evidence
    from suppression_evidence
    where scope = 'everything'
        and state in ('erased', 'complaint', 'unsubscribed', 'no_consent')

),

events as (

    select * from acceptances

    union all

    select
        consent_event_id,
        email,
        card_person_id,
        event_type,
        source,
        kind,
        occurred_at,
        is_time_known,
        true as covers_mailing,
        ends_suppression,
        cast(null as integer) as agreement_id,
        cast(null as {{ dbt.type_string() }}) as agreement_name,
        text_version,
        text_version is not null as is_text_version_certain,
        evidence
    from other_events

),

peopled as (

    select
        events.consent_event_id || '|' || coalesce(events.email, '') as consent_event_key,
        events.consent_event_id,
        events.email,
        coalesce(people_emails.person_id, events.card_person_id) as person_id,
        events.event_type,
        events.source,
        events.kind,
        events.occurred_at,
        events.is_time_known,
        events.covers_mailing,
        events.ends_suppression,
        events.agreement_id,
        events.agreement_name,
        events.text_version,
        events.is_text_version_certain,
        events.evidence

    from events
    left join people_emails
        on events.email = people_emails.email

),

{{ changed_rows(
    'peopled',
    'consent_event_key',
    [
        'consent_event_id', 'email', 'person_id', 'event_type', 'source', 'kind', 'occurred_at', 'is_time_known', 'covers_mailing',
        'ends_suppression', 'agreement_id', 'agreement_name', 'text_version', 'is_text_version_certain', 'evidence',
    ],
    held='held' if since else none
) }}
