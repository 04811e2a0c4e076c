-- A touch that an e-mail event was is a human event of the person who converted.
select credits.*

from {{ ref('fct_attribution_credits') }} as credits
inner join {{ ref('fct_email_events') }} as email_events
    on credits.touch_event_id = email_events.event_id
inner join {{ ref('fct_conversions') }} as conversions
    on credits.conversion_id = conversions.conversion_id
where email_events.is_machine
    or email_events.event_type <> credits.touch_type
    or email_events.person_id <> conversions.person_id
    or email_events.letter_id <> credits.letter_id
    or email_events.occurred_at <> credits.touched_at
