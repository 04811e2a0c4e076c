{{ config(
    materialized='table',
    pre_hook="{{ plan_for_few() }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#
    Evidence outlives its row: Bitrix deletes physically, and a deleted unsubscribe is not a consent. So rows that disappeared
    from the source are evidence still, unlike everywhere else.
#}
with unsubscribes as (

    select * from {{ ref('stg_bitrix__unsubscribes') }}

),

recipients as (

    select recipient_id, posting_id, address_id from {{ ref('stg_bitrix__recipients') }}

),

postings as (

    select * from {{ ref('stg_bitrix__postings') }}

),

addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}

),

subscriptions as (

    select * from {{ ref('stg_bitrix__subscriptions') }}

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

own_opt_outs as (

    select * from {{ ref('stg_ops__own_opt_outs') }}

),

esp_events as (

    select event_id, esp, account, email, event_type, bounce_kind, occurred_at
    from {{ ref('int_esp_departures') }}

    union all

    select event_id, esp, account, email, event_type, bounce_kind, occurred_at
    from {{ ref('stg_esp__deleted_events') }}

),

refusals as (

    select * from {{ ref('stg_ops__refusals') }}

),

crm_consents as (

    select * from {{ ref('int_crm_consents') }}

),

soft_bounce_runs as (

    select * from {{ ref('int_soft_bounce_runs') }}

),

site_events as (

    select * from {{ ref('stg_site__events') }}

),

choices as (

    select * from {{ ref('stg_inbox__choices') }}

),

erasures as (

    select * from {{ ref('stg_ops__erasures') }}

),

unsubscribed_recipients as (

    select
        unsubscribes.unsubscribe_id,
        unsubscribes.unsubscribed_at,
        recipients.address_id,
        addresses.email,
        postings.campaign_id

    from unsubscribes
    inner join recipients
        on unsubscribes.recipient_id = recipients.recipient_id
    inner join addresses
        on recipients.address_id = addresses.address_id
    left join postings
        on unsubscribes.posting_id = postings.posting_id

),

-- a subscription row keeps the time of its first event only; the unsubscribe event has the real one
campaign_unsubscribes as (

    select
        address_id,
        campaign_id,
        max(unsubscribed_at) as unsubscribed_at

    from unsubscribed_recipients
    group by
        address_id,
        campaign_id

),

-- an opt-out that we set ourselves would come back as evidence, reach the person's other addresses and outlive its cause
opted_out_subscribers as (

    select subscribers.*
    from subscribers
    left join own_opt_outs
        on subscribers.esp = own_opt_outs.esp
            and subscribers.account = own_opt_outs.account
            and subscribers.email = own_opt_outs.email
    where subscribers.status = 'cleaned'
        or (
            subscribers.status = 'unsubscribed'
            and (
                own_opt_outs.email is null
                -- subscribed again since, and left again
                or subscribers.changed_at > {{ dbt.dateadd('hour', 24, 'own_opt_outs.confirmed_at') }}
            )
        )

),

-- who is refused for the opt-out that we set ourselves has not left
theirs_to_refuse as (

    select refusals.*
    from refusals
    left join own_opt_outs
        on refusals.esp = own_opt_outs.esp
            and refusals.account = own_opt_outs.account
            and refusals.email = own_opt_outs.email
            and own_opt_outs.confirmed_at <= refusals.first_refused_at
    where refusals.state <> 'unsubscribed'
        or own_opt_outs.email is null

),

-- an ESP dates a contact by its last change of any kind, also one of ours; only the event says when the person left
last_departures as (

    select
        esp,
        account,
        email,
        case event_type when 'bounced' then 'cleaned' else 'unsubscribed' end as status,
        max(occurred_at) as left_at

    from esp_events
    where event_type in ('unsubscribed', 'complained')
        or (event_type = 'bounced' and bounce_kind = 'hard')
    group by 1, 2, 3, 4

),

abused_addresses as (

    select distinct addresses.address_id
    from addresses
    inner join abuse_reports
        on addresses.address_id = abuse_reports.address_id
            or addresses.email = abuse_reports.email

),

evidence as (

    select
        email,
        'unsubscribed' as state,
        'bitrix' as source,
        'b_sender_posting_unsub:' || unsubscribe_id as evidence,
        unsubscribed_at as evidenced_at,
        true as is_time_known
    from unsubscribed_recipients

    union all

    select
        addresses.email,
        'unsubscribed' as state,
        'bitrix' as source,
        'b_sender_mailing_subscription:' || subscriptions.campaign_id || ':' || subscriptions.address_id as evidence,
        coalesce(campaign_unsubscribes.unsubscribed_at, subscriptions.first_recorded_at) as evidenced_at,
        campaign_unsubscribes.unsubscribed_at is not null as is_time_known
    from subscriptions
    inner join addresses
        on subscriptions.address_id = addresses.address_id
    left join campaign_unsubscribes
        on subscriptions.address_id = campaign_unsubscribes.address_id
            and subscriptions.campaign_id = campaign_unsubscribes.campaign_id
    where subscriptions.is_unsubscribed

    union all

    -- set by the answer to a consent request only, and that moves updated_at
    select
        email,
        'unsubscribed' as state,
        'bitrix' as source,
        'b_sender_contact.IS_UNSUB:' || address_id as evidence,
        coalesce(updated_at, created_at) as evidenced_at,
        updated_at is not null as is_time_known
    from addresses
    where is_unsubscribed

    union all

    -- blacklisted without a report: somebody did it by hand or by import, and when is not recorded
    select
        addresses.email,
        case when abused_addresses.address_id is not null then 'complaint' else 'unsubscribed' end as state,
        'bitrix' as source,
        'b_sender_contact.BLACKLISTED:' || addresses.address_id as evidence,
        coalesce(addresses.updated_at, addresses.created_at) as evidenced_at,
        false as is_time_known
    from addresses
    left join abused_addresses
        on addresses.address_id = abused_addresses.address_id
    -- what we told the site's handler comes back so; it says nothing about the person
    left join own_opt_outs
        on addresses.email = own_opt_outs.email
            and own_opt_outs.esp = 'bitrix_site'
    where addresses.is_blacklisted
        and (own_opt_outs.email is null or abused_addresses.address_id is not null)

    union all

    select
        email,
        'complaint' as state,
        'bitrix' as source,
        'b_sender_abuse:' || abuse_report_id as evidence,
        reported_at as evidenced_at,
        true as is_time_known
    from abuse_reports

    union all

    select
        email,
        'no_consent' as state,
        'bitrix' as source,
        'b_sender_contact.CONSENT_STATUS:' || address_id as evidence,
        coalesce(updated_at, created_at) as evidenced_at,
        updated_at is not null as is_time_known
    from addresses
    where consent_status = 'denied'

    union all

    select
        email,
        case category when 'permanent_bounce' then 'hard_bounce' else 'unsubscribed' end as state,
        'bitrix' as source,
        'b_main_mail_blacklist:' || blacklist_id as evidence,
        blacklisted_at as evidenced_at,
        true as is_time_known
    from blacklisted_emails

    union all

    select
        opted_out_subscribers.email,
        case opted_out_subscribers.status when 'cleaned' then 'hard_bounce' else 'unsubscribed' end as state,
        opted_out_subscribers.esp as source,
        'raw_esp.contacts:' || opted_out_subscribers.subscriber_id as evidence,
        coalesce(
            last_departures.left_at,
            opted_out_subscribers.changed_at,
            opted_out_subscribers.opted_in_at
        ) as evidenced_at,
        last_departures.left_at is not null as is_time_known
    from opted_out_subscribers
    left join last_departures
        on opted_out_subscribers.esp = last_departures.esp
            and opted_out_subscribers.account = last_departures.account
            and opted_out_subscribers.email = last_departures.email
            and opted_out_subscribers.status = last_departures.status

    union all

    select
        email,
        case event_type
            when 'complained' then 'complaint'
            when 'bounced' then 'hard_bounce'
            else 'unsubscribed'
        end as state,
        esp as source,
        'raw_esp.events:' || event_id as evidence,
        occurred_at as evidenced_at,
        true as is_time_known
    from esp_events
    where event_type in ('unsubscribed', 'complained')
        or (event_type = 'bounced' and bounce_kind = 'hard')

    union all

    select
        email,
        state,
        esp as source,
        'ops.sync_records:' || account || ':' || {{ dbt.hash('email') }} as evidence,
        first_refused_at as evidenced_at,
        true as is_time_known
    from theirs_to_refuse

    union all

    select
        email,
        'no_consent' as state,
        'bitrix' as source,
        'b_uts_crm_contact.{{ var("crm_consent_field") | upper }}:' || contact_id as evidence,
        answered_at as evidenced_at,
        is_time_known
    from crm_consents
    where not is_given

    union all

    -- a mailbox that takes nothing for so long is as good as gone
    select
        email,
        'hard_bounce' as state,
        source,
        'soft_bounces:' || message_id as evidence,
        reached_at as evidenced_at,
        true as is_time_known
    from soft_bounce_runs

    union all

    -- told by the handler on the site, before its tables are read again
    select
        email,
        'unsubscribed' as state,
        'bitrix' as source,
        'raw_inbox.site_events:' || site_event_id as evidence,
        occurred_at as evidenced_at,
        true as is_time_known
    from site_events
    where event_type = 'unsubscribe'

    union all

    select
        email,
        'unsubscribed' as state,
        'preference_centre' as source,
        'raw_inbox.choices:' || choice_id as evidence,
        chosen_at as evidenced_at,
        true as is_time_known
    from choices
    where is_leaving

    union all

    -- what stands for the address since: whoever comes back under it is turned into it before the models are built
    select
        email,
        'erased' as state,
        'lettertrail' as source,
        -- a person may have several addresses
        'ops.erased_identifiers:' || email as evidence,
        erased_at as evidenced_at,
        true as is_time_known
    from erasures

),

usable as (

    select
        email,
        'everything' as scope,
        state,
        source,
        evidence,
        evidenced_at,
        is_time_known

    from evidence
    where email is not null

)

select * from usable
