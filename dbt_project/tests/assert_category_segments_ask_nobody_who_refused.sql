-- Whoever refused a category, at any address, is in no segment of it.
{% for category in var('preference_categories') -%}
select
    '{{ category }}' as category,
    readers.person_id

from {{ ref('seg_' ~ category) }} as readers
inner join {{ ref('dim_suppression') }} as suppressions
    on readers.person_id = suppressions.person_id
where suppressions.scope in ('{{ category }}', 'regular_letters')
{{ 'union all' if not loop.last }}
{% endfor %}
