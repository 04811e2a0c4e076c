{#- `condition` is true for every row; null counts as false, so say what null means. -#}
{% test holds(model, condition) %}

select *

from {{ model }}
where not coalesce({{ condition }}, false)

{% endtest %}
