-- The label propagation of int_identifiers_joined has come to rest. If this fails, raise `identity_rounds`.
select
    linked.*,
    one_end.person_id,
    other_end.person_id as other_person_id

from {{ ref('int_identifiers_linked') }} as linked
inner join {{ ref('int_identifiers_joined') }} as one_end
    on linked.kind = one_end.kind
        and linked.identifier = one_end.identifier
inner join {{ ref('int_identifiers_joined') }} as other_end
    on linked.other_kind = other_end.kind
        and linked.other_identifier = other_end.identifier
where one_end.person_id <> other_end.person_id
