with crm_consents as (

    select * from {{ ref('int_crm_consents') }}
    where email is not null

),

addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}
    where not is_deleted
        and email is not null

),

subscribers as (

    select * from {{ ref('stg_esp__contacts') }}
    where not is_deleted
        and email is not null

),

evidence as (

    select * from {{ ref('fct_suppression_evidence') }}
    where scope = 'everything'
        and is_standing
        and not is_from_other_email

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

-- what the card says; several cards with one address rarely agree by accident, and a "no" among them counts
crm_statements as (

    select
        email,
        'crm' as place,
        min(case when is_given then 1 else 0 end) = 1 as is_mailable,
        coalesce(min(case when not is_given then answered_at end), min(answered_at)) as since

    from crm_consents
    group by email

),

-- the sender module mails whomever it knows and nothing speaks against
sender_refusals as (

    select
        email,
        min(evidenced_at) as since

    from evidence
    where source = 'bitrix'
        and evidence not like 'b_uts_crm_contact%'
    group by email

),

sender_statements as (

    select
        addresses.email,
        'sender' as place,
        sender_refusals.email is null as is_mailable,
        coalesce(sender_refusals.since, addresses.created_at) as since

    from addresses
    left join sender_refusals
        on addresses.email = sender_refusals.email

),

-- the event of the departure is dated better than the contact, whose change time moves with every change
members as (

    select
        subscribers.email,
        subscribers.account,
        subscribers.status = 'subscribed' as is_mailable,
        coalesce(evidence.evidenced_at, subscribers.changed_at, subscribers.opted_in_at) as since

    from subscribers
    left join evidence
        on subscribers.email = evidence.email
            and evidence.evidence = 'raw_esp.contacts:' || subscribers.subscriber_id
    where subscribers.status in ('subscribed', 'unsubscribed', 'cleaned')

),

-- on several lists of an account: mailable while one of them is left
esp_statements as (

    select
        email,
        account as place,
        max(case when is_mailable then 1 else 0 end) = 1 as is_mailable,
        case
            when max(case when is_mailable then 1 else 0 end) = 1
                then min(case when is_mailable then since end)
            else max(since)
        end as since

    from members
    group by
        email,
        account

),

statements as (

    select * from crm_statements
    union all
    select * from sender_statements
    union all
    select * from esp_statements

),

-- few disagree; only of them it has to be told at length who says what
disagreeing as (

    select email
    from statements
    group by email
    having max(case when is_mailable then 1 else 0 end) = 1
        and max(case when is_mailable then 0 else 1 end) = 1

),

-- they have disagreed since the later of the first "yes" and the first "no" among those of today
disagreements as (

    select
        statements.email,
        min(case when place = 'crm' then case when is_mailable then 'mailable' else 'not mailable' end end) as crm_says,
        min(case when place = 'sender' then case when is_mailable then 'mailable' else 'not mailable' end end)
            as sender_says,
        sum(case when place not in ('crm', 'sender') and is_mailable then 1 else 0 end) as esp_mailable_count,
        sum(case when place not in ('crm', 'sender') and not is_mailable then 1 else 0 end) as esp_not_mailable_count,
        {{ dbt.listagg("case when is_mailable then place end", "', '", "order by place") }} as mailable_at,
        {{ dbt.listagg("case when not is_mailable then place end", "', '", "order by place") }} as not_mailable_at,
        greatest(min(case when is_mailable then since end), min(case when not is_mailable then since end)) as since

    from statements
    inner join disagreeing
        on statements.email = disagreeing.email
    group by statements.email

),

suppressions as (

    select * from {{ ref('dim_suppression') }}
    where scope = 'everything'

),

final as (

    select
        disagreements.email,
        people_emails.person_id,
        disagreements.crm_says,
        disagreements.sender_says,
        disagreements.esp_mailable_count,
        disagreements.esp_not_mailable_count,
        disagreements.mailable_at,
        disagreements.not_mailable_at,
        disagreements.since,
        suppressions.state as suppression_state

    from disagreements
    left join people_emails
        on disagreements.email = people_emails.email
    left join suppressions
        on disagreements.email = suppressions.email

)

select * from final
