{#-
    What dbt's own does, but for how it sees that a model's columns are the table's: by one look at the catalogue instead of five. Only
    when they are not is `on_schema_change` asked, in dbt's own way.
-#}
{% materialization incremental, adapter='postgres' %}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is none or not existing.is_table or should_full_refresh() -%}
        {{ return(materialization_table_postgres()) }}
    {%- endif -%}
    {%- set news = make_temp_relation(existing) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- set compared = run_query(get_create_table_as_sql(True, news, sql) ~ columns_compared(news, existing)) -%}
    {%- if compared.columns['is_alike'].values() | reject | list -%}
        {%- if not config.get('contract').enforced -%}
            {%- do adapter.expand_target_column_types(from_relation=news, to_relation=existing) -%}
        {%- endif -%}
        {%- set reaction = incremental_validate_on_schema_change(config.get('on_schema_change'), default='ignore') -%}
        {%- set columns = process_schema_changes(reaction, news, existing) or adapter.get_columns_in_relation(existing) -%}
    {%- else -%}
        {%- set columns = [] -%}
        {%- for row in compared.rows -%}
            {%- do columns.append(api.Column.create(row['column_name'], row['data_type'])) -%}
        {%- endfor -%}
    {%- endif -%}

    {%- set strategy = adapter.get_incremental_strategy_macro(context, config.get('incremental_strategy') or 'default') -%}
    {%- call statement('main') -%}
        {{ strategy({
            'target_relation': existing,
            'temp_relation': news,
            'unique_key': config.get('unique_key'),
            'dest_columns': columns,
            'incremental_predicates': config.get('predicates') or config.get('incremental_predicates')
        }) }}
    {%- endcall -%}
    {%- do apply_grants(existing, config.get('grants'), should_revoke=should_revoke(existing, full_refresh_mode=False)) -%}
    {%- do persist_docs(existing, model) -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [existing]}) }}
{% endmaterialization %}

{#- The columns of either table, and whether the other one has them in the same type. -#}
{% macro columns_compared(news, held) -%}
    select
        coalesce(held.attname, news.attname) as column_name,
        format_type(held.atttypid, held.atttypmod) as data_type,
        held.atttypid is not distinct from news.atttypid
            and held.atttypmod is not distinct from news.atttypmod as is_alike
    from ({{ columns_of(held) }}) as held
    full outer join ({{ columns_of(news) }}) as news
        on held.attname = news.attname
    order by held.attnum
{%- endmacro %}

{% macro columns_of(relation) -%}
    select *
    from pg_attribute
    where attrelid = cast('{{ relation }}' as regclass)
        and attnum > 0
        and not attisdropped
{%- endmacro %}
