{#-
    The condition that a raw row came with a load first seen after the build `since`; true for every row when `since` is none. Loads grow,
    so the number of the first of them lets the warehouse look at the end of a table alone.
-#}
{% macro only_new_loads(since, columns=['_load_id']) -%}
    {%- if since -%}
        {%- set first = first_new_load(since) -%}
        {%- if first -%}
        (
        {%- for column in columns %}
            {{ 'or ' if not loop.first }}(
                {{ column }} >= {{ first }}
                and {{ column }} in (select load_id from {{ ref('int_loads') }} where _built_at > {{ since }})
            )
        {%- endfor %}
        )
        {%- else -%}
        false
        {%- endif -%}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{#- The number of the first load that was first seen after the build `since`; none when there is none. -#}
{% macro first_new_load(since) -%}
    {{ return(run_query('select min(load_id) from ' ~ ref('int_loads') ~ ' where _built_at > ' ~ since).rows[0][0]) }}
{%- endmacro %}
