-- Two identifiers that are linked belong to one person.
select
    linked.*,
    one_end.person_id,
    other_end.person_id as other_person_id

from {{ ref('int_identifiers_linked') }} as linked
left join {{ ref('int_identifiers_joined') }} as one_end
    on linked.identifier_number = one_end.identifier_number
left join {{ ref('int_identifiers_joined') }} as other_end
    on linked.other_identifier_number = other_end.identifier_number
where linked.is_linked
    and (one_end.person_id is null or other_end.person_id is null or one_end.person_id <> other_end.person_id)
