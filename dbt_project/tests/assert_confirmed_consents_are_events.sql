-- What ends a suppression is a consent event that says so, and the other way round.
with confirmed as (

    select
        email,
        max(occurred_at) as consented_at

    from {{ ref('int_consent_events') }}
    where ends_suppression
        and not is_gone
    group by email

)

select
    confirmed.email,
    confirmed.consented_at,
    consents.email as consents_email

from confirmed
full outer join {{ ref('int_consents') }} as consents
    on confirmed.email = consents.email
where confirmed.consented_at is distinct from consents.consented_at
