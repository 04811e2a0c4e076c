{#-
    Only addresses with news are worked out anew: a consent that came, changed or went, another standing statement against it, another
    person. An address of which nobody says anything any more comes out without a state, and goes.
-#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='email',
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['email'], 'unique': true}, {'columns': ['_built_at']}],
    post_hook="delete from {{ this }} where state is null"
) }}

{%- set since = incremental_since() %}

with evidence as (

    select * from {{ ref('fct_suppression_evidence') }}
    where scope = 'everything'
        and state in ('erased', 'complaint', 'unsubscribed', 'no_consent')

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

standing as (

    select
        email,
        case when max(case when state = 'no_consent' then 0 else 1 end) = 1 then 'withdrawn' else 'refused' end as state,
        min(evidenced_at) as ended_at

    from evidence
    where is_standing
    group by email

),

{%- if since %}

known as (

    select
        email,
        state,
        ended_at,
        person_id

    from {{ this }}

),

news as (

    select email
    from {{ ref('int_consent_events') }}
    where _built_at > {{ since }}
        and email is not null

    union

    select standing.email
    from standing
    left join known
        on standing.email = known.email
    where known.email is null
        or {{ rows_differ('standing', 'known', ['state', 'ended_at']) }}

    union

    select known.email
    from known
    left join standing
        on known.email = standing.email
    left join people_emails
        on known.email = people_emails.email
    where (standing.email is null and known.state <> 'given')
        or {{ differs('people_emails.person_id', 'known.person_id') }}

),
{%- endif %}

consent_events as (

    select * from {{ ref('int_consent_events') }}
    where email is not null
        and covers_mailing
        and not is_gone
        {%- if since %}
        and email in (select email from news)
        {%- endif %}

),

-- few say what was agreed to; imported by itself, because what is used twice is first worked out whole
consents_with_text as (

    select * from {{ ref('int_consent_events') }}
    where email is not null
        and covers_mailing
        and not is_gone
        and event_type = 'given'
        and text_version is not null

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
        min(occurred_at) over (partition by email) as first_given_at

    from consent_events
    where event_type = 'given'

),

texts_of_acts as (

    select
        email,
        occurred_at,
        max(text_version) as text_version

    from consents_with_text
    group by
        email,
        occurred_at

),

given as (

    select * from given_ranked
    where newness = 1

),

emails as (

    {%- if since %}
    select email from news
    {%- else %}
    select email from given
    union
    select email from standing
    {%- endif %}

),

final as (

    select
        emails.email,
        people_emails.person_id,
        coalesce(standing.state, case when given.email is not null then 'given' end) as state,
        given.occurred_at as consented_at,
        coalesce(given.is_time_known, false) as is_time_known,
        given.source,
        given.kind,
        coalesce(given.ends_suppression, false) as is_confirmed,
        given.agreement_name,
        coalesce(given.text_version, texts_of_acts.text_version) as text_version,
        coalesce(given.is_text_version_certain, false) as is_text_version_certain,
        given.first_given_at,
        standing.ended_at,
        {{ built_at() }} as _built_at

    from emails
    left join given
        on emails.email = given.email
    left join texts_of_acts
        on given.email = texts_of_acts.email
            and given.occurred_at = texts_of_acts.occurred_at
    left join standing
        on emails.email = standing.email
    left join people_emails
        on emails.email = people_emails.email

)

select * from final
