-- Human and machine together are everything: a machine's event has a rule and a reason, a person's has neither.
select *

from {{ ref('fct_email_events') }}
where is_machine <> (machine_rule is not null)
    or is_machine <> (machine_reason is not null)
    or (is_machine and event_type not in ('opened', 'clicked'))
