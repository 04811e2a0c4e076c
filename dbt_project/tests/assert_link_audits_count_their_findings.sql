-- The counts of mart_link_audit are its findings, and no letter has more links at fault than links.
{%- set findings = [
    'no_utm', 'missing_source', 'missing_medium', 'missing_campaign', 'missing_content', 'wrong_letter_id', 'no_letter_id',
    'untracked'
] %}
with counted as (

    select
        letter_id,
        count(*) as finding_count,
        count(distinct link_id) as faulty_link_count

    from {{ ref('mart_link_audit_findings') }}
    group by letter_id

)

select
    audits.letter_id,
    counted.finding_count

from {{ ref('mart_link_audit') }} as audits
left join counted
    on audits.letter_id = counted.letter_id
where
    {% for finding in findings %}audits.{{ finding }}_count{{ ' + ' if not loop.last }}{% endfor %}
    <> coalesce(counted.finding_count, 0)
    or coalesce(counted.faulty_link_count, 0) > audits.link_count
