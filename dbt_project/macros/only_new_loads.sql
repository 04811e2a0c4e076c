{#- The condition that a raw row came with a load first seen after the build `since`; true for every row when `since` is none. -#}
{% macro only_new_loads(since, columns=['_load_id']) -%}
    {%- if since -%}
        {%- for column in columns %}
        {{- 'or ' if not loop.first }}{{ column }} in (select load_id from {{ ref('int_loads') }} where _built_at > {{ since }})
        {%- if not loop.last %}
{{ ' ' * 8 }}{% endif %}
        {%- endfor -%}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
