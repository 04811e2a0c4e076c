-- Whoever complained or was erased is suppressed, whatever else is known.
select evidence.*

from {{ ref('int_suppression_evidence') }} as evidence
left join {{ ref('dim_suppression') }} as suppressions
    on evidence.email = suppressions.email
        and evidence.scope = suppressions.scope
where evidence.state in ('erased', 'complaint')
    and ({{ suppression_rank('suppressions.state') }} > {{ suppression_rank('evidence.state') }} or suppressions.state is null)
