-- An address whose consent is given is not suppressed by anything the person said.
select
    consents.email,
    evidence.state

from {{ ref('dim_consent') }} as consents
inner join {{ ref('fct_suppression_evidence') }} as evidence
    on consents.email = evidence.email
where consents.state = 'given'
    and evidence.is_standing
    and evidence.scope = 'everything'
    and evidence.state <> 'hard_bounce'
