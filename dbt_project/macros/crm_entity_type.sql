{#- The word for a CRM entity type id; smart processes and cards in the recycle bin are `other`. -#}
{% macro crm_entity_type(column) -%}
    case {{ column }}
        when 1 then 'lead'
        when 2 then 'deal'
        when 3 then 'contact'
        when 4 then 'company'
        when 14 then 'order'
        else 'other'
    end
{%- endmacro %}
