with messages as (

    select * from {{ ref('int_messages') }}

),

letters as (

    select letter_id, letter_number from {{ ref('int_letters') }}

),

opens as (

    select * from {{ ref('int_opens_judged') }}

),

clicks as (

    select * from {{ ref('int_clicks_judged') }}

),

postings as (

    select * from {{ ref('stg_bitrix__postings') }}

),

unsubscribes as (

    select * from {{ ref('stg_bitrix__unsubscribes') }}
    where not is_deleted

),

abuse_reports as (

    select * from {{ ref('stg_bitrix__abuse_reports') }}
    where not is_deleted

),

esp_events as (

    select * from {{ ref('stg_esp__events') }}
    where not is_deleted

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

bitrix_sends as (

    select
        'bitrix:sent:' || recipient_id as event_id,
        source,
        message_id,
        letter_id,
        person_id,
        'sent' as event_type,
        sent_at as occurred_at,
        cast(null as {{ dbt.type_string() }}) as bounce_kind

    from messages
    where source = 'bitrix'
        and is_sent

),

bitrix_bounces as (

    select
        'bitrix:bounced:' || recipient_id as event_id,
        source,
        message_id,
        letter_id,
        person_id,
        'bounced' as event_type,
        sent_at as occurred_at,
        bounce_kind

    from messages
    where source = 'bitrix'
        and is_bounced

),

bitrix_unsubscribes as (

    select
        'bitrix:unsubscribed:' || unsubscribes.unsubscribe_id as event_id,
        'bitrix' as source,
        messages.message_id,
        coalesce(messages.letter_id, letters.letter_id) as letter_id,
        messages.person_id,
        messages.address_id,
        unsubscribes.unsubscribe_id,
        unsubscribes.unsubscribed_at as occurred_at

    from unsubscribes
    left join messages
        on unsubscribes.recipient_id = messages.recipient_id
    left join postings
        on unsubscribes.posting_id = postings.posting_id
    left join letters
        on postings.letter_number = letters.letter_number

),

-- "this is spam" is ticked on the unsubscribe page, and only the unsubscribe row knows the letter
complaint_candidates as (

    select
        abuse_reports.abuse_report_id,
        abuse_reports.email,
        abuse_reports.reported_at,
        bitrix_unsubscribes.message_id,
        bitrix_unsubscribes.letter_id,
        row_number() over (
            partition by abuse_reports.abuse_report_id
            order by
                abs({{ seconds_between('bitrix_unsubscribes.occurred_at', 'abuse_reports.reported_at') }}),
                bitrix_unsubscribes.unsubscribe_id
        ) as candidate_rank

    from abuse_reports
    left join bitrix_unsubscribes
        on abuse_reports.address_id = bitrix_unsubscribes.address_id
            and abs({{ seconds_between('bitrix_unsubscribes.occurred_at', 'abuse_reports.reported_at') }})
            <= {{ var('complaint_match_seconds') }}

),

bitrix_complaints as (

    select
        'bitrix:complained:' || complaint_candidates.abuse_report_id as event_id,
        'bitrix' as source,
        complaint_candidates.message_id,
        complaint_candidates.letter_id,
        people_emails.person_id,
        'complained' as event_type,
        complaint_candidates.reported_at as occurred_at,
        cast(null as {{ dbt.type_string() }}) as bounce_kind

    from complaint_candidates
    left join people_emails
        on complaint_candidates.email = people_emails.email
    where complaint_candidates.candidate_rank = 1

),

esp_other_events as (

    select
        esp_events.event_id,
        esp_events.esp as source,
        esp_events.message_id,
        letters.letter_id,
        people_emails.person_id,
        esp_events.event_type,
        esp_events.occurred_at,
        esp_events.bounce_kind

    from esp_events
    left join letters
        on esp_events.letter_id = letters.letter_id
    left join people_emails
        on esp_events.email = people_emails.email
    where esp_events.event_type in ('sent', 'delivered', 'bounced', 'rejected', 'unsubscribed', 'complained')

),

unjudged as (

    select * from bitrix_sends
    union all
    select * from bitrix_bounces
    union all
    select
        event_id,
        source,
        message_id,
        letter_id,
        person_id,
        'unsubscribed' as event_type,
        occurred_at,
        cast(null as {{ dbt.type_string() }}) as bounce_kind
    from bitrix_unsubscribes
    union all
    select * from bitrix_complaints
    union all
    select * from esp_other_events

),

events as (

    select
        event_id,
        source,
        message_id,
        letter_id,
        person_id,
        event_type,
        occurred_at,
        cast(null as {{ dbt.type_string() }}) as url,
        bounce_kind,
        false as is_machine,
        cast(null as {{ dbt.type_string() }}) as machine_rule,
        cast(null as {{ dbt.type_string() }}) as machine_reason

    from unjudged

    union all

    select
        event_id,
        source,
        message_id,
        letter_id,
        person_id,
        'opened' as event_type,
        occurred_at,
        cast(null as {{ dbt.type_string() }}) as url,
        cast(null as {{ dbt.type_string() }}) as bounce_kind,
        is_machine,
        machine_rule,
        machine_reason

    from opens

    union all

    select
        event_id,
        source,
        message_id,
        letter_id,
        person_id,
        'clicked' as event_type,
        occurred_at,
        url,
        cast(null as {{ dbt.type_string() }}) as bounce_kind,
        is_machine,
        machine_rule,
        machine_reason

    from clicks

)

select * from events
