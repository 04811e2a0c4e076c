{#-
    A table built beside the one that stands and put in its place, as dbt's own does it, but in a few statements: what dbt itself does for
    each costs more than a small table. All is one transaction, so a run that fails leaves nothing to tidy up.

    The old table goes at the very end: the views on it go with it, and the lock on them is not to be held while the hooks run.
-#}
{% materialization table, adapter='postgres' %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set fresh = make_intermediate_relation(target) if existing is not none else target -%}
    {%- set old = make_backup_relation(target, 'table') -%}
    {%- set kind = existing.type | replace('_', ' ') if existing is not none -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- call statement('main') -%}
        {{ get_create_table_as_sql(False, fresh, sql) }}
    {%- endcall -%}

    {%- set place -%}
        {%- if existing is not none -%}
        alter {{ kind }} {{ existing }} rename to {{ adapter.quote(old.identifier) }};
        alter table {{ fresh }} rename to {{ adapter.quote(target.identifier) }};
        {%- endif -%}
        {%- for index in config.get('indexes', []) %}
        {{ get_create_index_sql(target, index) }};
        {%- endfor -%}
    {%- endset -%}
    {%- if place -%}
        {%- call statement('place') -%}
            {{ place }}
        {%- endcall -%}
    {%- endif -%}
    {%- do apply_grants(target, config.get('grants'), should_revoke=should_revoke(existing, full_refresh_mode=True)) -%}
    {%- do persist_docs(target, model) -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- if existing is not none -%}
        {%- call statement('drop') -%}
            drop {{ kind }} {{ old }} cascade
        {%- endcall -%}
        {%- do adapter.cache_dropped(existing) -%}
    {%- endif -%}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target]}) }}
{% endmaterialization %}
