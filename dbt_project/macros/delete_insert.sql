{#-
    How dbt replaces rows by their key in an incremental model. Its own way leaves the planner a join with the whole table; where the key,
    or the first column of it, has an index, the old rows are found by that.
-#}
{% macro postgres__get_delete_insert_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) -%}
    {%- set keys = [unique_key] if unique_key is string else unique_key -%}
    {%- if keys[0] not in config.get('indexes', []) | map(attribute='columns') | map('first') -%}
    {{ default__get_delete_insert_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) }}
    {%- else -%}
    {%- set columns = get_quoted_csv(dest_columns | map(attribute='name')) -%}
    delete from {{ target }} as held
    where {{ among('held.' ~ keys[0], 'select ' ~ keys[0] ~ ' from ' ~ source) }}
    {%- if keys | length > 1 %}
        and exists (
            select 1
            from {{ source }} as new_rows
            where true
            {%- for key in keys %}
                and new_rows.{{ key }} = held.{{ key }}
            {%- endfor %}
        )
    {%- endif %}
    {%- for predicate in incremental_predicates or [] %}
        and {{ predicate }}
    {%- endfor %};

    insert into {{ target }} ({{ columns }})
    select {{ columns }}
    from {{ source }}
    {%- endif -%}
{%- endmacro %}
