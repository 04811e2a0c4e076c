select
    finding_id,
    letter_id,
    link_id,
    link_url,
    finding,
    named_key as named_letter

from {{ ref('int_link_findings') }}
