{#-
    The place of an address of stg_bitrix__multi_field_emails among those of its card: the order in which the sender module itself picks
    one (bitrix.md 2.4).
-#}
{% macro address_preference() -%}
    row_number() over (
            partition by entity_id
            order by
                case value_type when 'MAILING' then 1 when 'HOME' then 2 else 3 end,
                multi_field_id
        )
{%- endmacro %}
