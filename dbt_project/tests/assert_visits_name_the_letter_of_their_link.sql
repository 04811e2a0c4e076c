-- A visit has a letter exactly when int_letter_link says so, and is e-mail then.
select
    visits.visit_id,
    visits.letter_id,
    links.letter_id as linked_letter_id

from {{ ref('int_visits') }} as visits
left join {{ ref('int_letter_link') }} as links
    on links.entity_type = 'visit'
        and visits.visit_id = links.entity_id
        and not links.is_gone
where not visits.is_gone
    and (
        coalesce(visits.letter_id, '') <> coalesce(links.letter_id, '')
        or (visits.letter_id is not null and visits.channel <> 'email')
    )
