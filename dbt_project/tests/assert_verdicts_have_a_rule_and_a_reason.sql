-- Human, doubtful and machine together are all opens and clicks: a person's has no rule, the others have a rule and a reason.
select *

from {{ ref('fct_email_events') }}
where (event_type in ('opened', 'clicked')) <> (verdict is not null)
    or (coalesce(verdict, 'human') = 'human') <> (verdict_rule is null)
    or (verdict_rule is null) <> (verdict_reason is null)
