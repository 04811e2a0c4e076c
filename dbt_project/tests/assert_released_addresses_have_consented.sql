-- An address with evidence that is not suppressed has a consent newer than all of it.
select
    evidence.*,
    consents.consented_at

from {{ ref('int_suppression_evidence') }} as evidence
left join {{ ref('dim_suppression') }} as suppressions
    on evidence.email = suppressions.email
        and evidence.scope = suppressions.scope
left join {{ ref('int_consents') }} as consents
    on evidence.email = consents.email
where suppressions.email is null
    and (
        consents.consented_at is null
        or not evidence.is_time_known
        or consents.consented_at <= evidence.evidenced_at
    )
