-- All rows are judged by the rules and settings of today.
select verdict_version

from {{ ref('fct_email_events') }}
where verdict_version <> {{ verdict_version() }}
