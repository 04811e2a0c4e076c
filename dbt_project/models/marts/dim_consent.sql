with consent_events as (

    select * from {{ ref('int_consent_events') }}
    where email is not null
        and covers_mailing

),

evidence as (

    select * from {{ ref('fct_suppression_evidence') }}
    where scope = 'everything'
        and state in ('erased', 'complaint', 'unsubscribed', 'no_consent')

),

-- the newest consent; of several records of one act the one that proves most
given_ranked as (

    select
        *,
        row_number() over (
            partition by email
            order by
                occurred_at desc,
                case kind
                    when 'double_opt_in' then 1
                    when 'preference_page' then 1
                    when 'double_opt_in_record' then 2
                    when 'agreement' then 3
                    when 'crm_field' then 4
                    else 5
                end,
                consent_event_id
        ) as newness,
        max(text_version) over (partition by email, occurred_at) as text_version_of_act,
        min(occurred_at) over (partition by email) as first_given_at

    from consent_events
    where event_type = 'given'

),

given as (

    select * from given_ranked
    where newness = 1

),

standing as (

    select
        email,
        max(case when state = 'no_consent' then 0 else 1 end) = 1 as has_left,
        min(evidenced_at) as ended_at

    from evidence
    where is_standing
    group by email

),

emails as (

    select email from given
    union
    select email from standing

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

final as (

    select
        emails.email,
        people_emails.person_id,
        case
            when standing.has_left then 'withdrawn'
            when standing.email is not null then 'refused'
            else 'given'
        end as state,
        given.occurred_at as consented_at,
        coalesce(given.is_time_known, false) as is_time_known,
        given.source,
        given.kind,
        coalesce(given.ends_suppression, false) as is_confirmed,
        given.agreement_name,
        coalesce(given.text_version, given.text_version_of_act) as text_version,
        coalesce(given.is_text_version_certain, false) as is_text_version_certain,
        given.first_given_at,
        standing.ended_at

    from emails
    left join given
        on emails.email = given.email
    left join standing
        on emails.email = standing.email
    left join people_emails
        on emails.email = people_emails.email

)

select * from final
