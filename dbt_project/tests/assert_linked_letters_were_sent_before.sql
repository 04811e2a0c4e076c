-- No letter brought a visit, lead, deal or order before it was sent.
select
    links.entity_type,
    links.entity_id,
    links.letter_id,
    links.matched_at,
    letters.first_sent_at

from {{ ref('int_letter_link') }} as links
inner join {{ ref('int_letters') }} as letters
    on links.letter_id = letters.letter_id
where not links.is_gone
    and links.matched_at < letters.first_sent_at
