with evidence as (

    select * from {{ ref('int_suppression_evidence') }}

),

consents as (

    select * from {{ ref('int_consents') }}

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

evidence_by_email as (

    select
        evidence.email,
        evidence.scope,
        evidence.state,
        evidence.source,
        evidence.evidence,
        evidence.evidenced_at,
        evidence.is_time_known,
        false as is_from_other_email

    from evidence

    {%- if var('suppress_whole_person') %}

    union all

    -- a person who left at one address has left
    select
        other_emails.email,
        evidence.scope,
        evidence.state,
        evidence.source,
        evidence.evidence,
        evidence.evidenced_at,
        evidence.is_time_known,
        true as is_from_other_email

    from evidence
    inner join people_emails
        on evidence.email = people_emails.email
    inner join people_emails as other_emails
        on people_emails.person_id = other_emails.person_id
            and people_emails.email <> other_emails.email
    where evidence.state in ({{ suppression_states_where('follows_person') }})
    {%- endif %}

),

-- evidence whose time is not known is never taken to be older than a consent
standing as (

    select evidence_by_email.*
    from evidence_by_email
    left join consents
        on evidence_by_email.email = consents.email
    where not coalesce(
        evidence_by_email.state in ({{ suppression_states_where('lifts') }})
        and evidence_by_email.is_time_known
        and consents.consented_at > evidence_by_email.evidenced_at,
        false
    )

),

ranked as (

    select
        *,
        row_number() over (
            partition by email, scope
            order by
                {{ suppression_rank('state') }},
                is_from_other_email,
                is_time_known desc,
                evidenced_at,
                source,
                evidence
        ) as strength

    from standing

),

final as (

    select
        ranked.email,
        people_emails.person_id,
        ranked.scope,
        ranked.state,
        ranked.source,
        ranked.evidence,
        ranked.evidenced_at,
        ranked.is_from_other_email

    from ranked
    left join people_emails
        on ranked.email = people_emails.email
    where ranked.strength = 1

)

select * from final
