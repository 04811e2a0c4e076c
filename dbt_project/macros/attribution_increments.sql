{#-
    A pre-hook: takes the touches of changed conversions out of the model's table before the new ones come in. A conversion that has
    none any more brings no row that would replace its old ones.
-#}
{% macro drop_changed_conversions() -%}
    {%- if execute and is_incremental() -%}
        {%- set since = incremental_since() -%}
        delete from {{ this }}
        {% if since -%}
        where conversion_id in (select conversion_id from {{ ref('int_conversion_inputs') }} where _built_at > {{ since }})
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
