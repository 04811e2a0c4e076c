-- Whatever joined them: an e-mail or phone never links more contacts, or more accounts, than the limit allows.
select
    linked.other_identifier_number,
    cards.kind,
    count(*) as card_count

from {{ ref('int_identifiers_linked') }} as linked
inner join {{ ref('int_identifiers_joined') }} as cards
    on linked.identifier_number = cards.identifier_number
inner join {{ ref('int_identifiers_joined') }} as shared
    on linked.other_identifier_number = shared.identifier_number
where linked.is_linked
    and shared.kind in ('email', 'phone')
    and cards.kind in ('contact', 'user', 'company')
group by
    linked.other_identifier_number,
    cards.kind
having count(*) > {{ var('shared_identifier_limit') }}
