with evidence as (

    select * from {{ ref('int_suppression_evidence') }}

),

consents as (

    select * from {{ ref('int_consents') }}

),

preferences as (

    select * from {{ ref('int_preferences') }}

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

people as (

    select * from {{ ref('dim_person') }}

),

-- whoever does not want a category is not sent it to any address
category_opt_outs as (

    select
        people_emails.email,
        preferences.category as scope,
        'unsubscribed' as state,
        preferences.source,
        preferences.evidence,
        preferences.changed_at as evidenced_at,
        false as is_time_known,
        false as is_from_other_email

    from preferences
    inner join people_emails
        on preferences.person_id = people_emails.person_id
    where preferences.state = 'unsubscribed'

),

people_consents as (

    select
        people_emails.person_id,
        max(consents.consented_at) as consented_at

    from consents
    inner join people_emails
        on consents.email = people_emails.email
    group by people_emails.person_id

),

signs_of_life as (

    select
        people.person_id,
        people.last_sent_at,
        greatest(
            people.first_sent_at,
            coalesce(people.last_opened_at, people.first_sent_at),
            coalesce(people.last_clicked_at, people.first_sent_at),
            coalesce(people_consents.consented_at, people.first_sent_at)
        ) as last_sign_at

    from people
    left join people_consents
        on people.person_id = people_consents.person_id
    where people.first_sent_at is not null

),

-- not reading is no statement of the person: it only keeps the regular letters back, and a single open ends it
inactivity as (

    select
        people_emails.email,
        'regular_letters' as scope,
        'inactive' as state,
        'lettertrail' as source,
        'dim_person:' || signs_of_life.person_id as evidence,
        {{ add_seconds('signs_of_life.last_sign_at', 86400 * var('inactive_suppression_days')) }} as evidenced_at,
        true as is_time_known,
        false as is_from_other_email

    from signs_of_life
    inner join people_emails
        on signs_of_life.person_id = people_emails.person_id
    where signs_of_life.last_sign_at <= {{ add_seconds(run_at(), -86400 * var('inactive_suppression_days')) }}
        -- who was sent nothing since had nothing to open
        and signs_of_life.last_sent_at >= signs_of_life.last_sign_at

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

    union all

    select * from category_opt_outs

    union all

    select * from inactivity

),

-- evidence whose time is not known is never taken to be older than a consent
judged as (

    select
        evidence_by_email.*,
        case
            when evidence_by_email.state in ({{ suppression_states_where('lifts') }})
                and evidence_by_email.is_time_known
                and consents.consented_at > evidence_by_email.evidenced_at
                then consents.consented_at
        end as ended_at

    from evidence_by_email
    left join consents
        on evidence_by_email.email = consents.email

),

final as (

    select
        judged.email,
        people_emails.person_id,
        judged.scope,
        judged.state,
        judged.source,
        judged.evidence,
        judged.evidenced_at,
        judged.is_time_known,
        judged.is_from_other_email,
        judged.ended_at is null as is_standing,
        judged.ended_at

    from judged
    left join people_emails
        on judged.email = people_emails.email

)

select * from final
