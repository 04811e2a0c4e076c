{#-
    Connected components, kept up to date. The model's SQL gives the identifiers (`identifier_number`, `identifier_id`, `naming_rank`,
    `card_id` and whatever else is to be stored with them); config `identifiers` names the model they are in, which keeps those that are no
    more (`identifier_number`, `is_gone`, `_built_at`), and config `links` the model with the links between them (`identifier_number`,
    `other_identifier_number`, `is_linked`, `_built_at`). The table gets the identifiers with `person_number` and `person_id`, the
    identifier that their component is named after (lowest `naming_rank`, then lowest card, then lowest number), and `_built_at`, the
    build that last changed the row or another of a component that came apart.

    How: contraction. In every round each vertex goes over to the least of itself and its neighbours, in an order that is shuffled anew
    for every round; links inside the merged vertices fall away. What is left shrinks by a constant factor on average whatever the
    shape, so chains, rings and stars of any length take as many rounds as the logarithm of their size, and all rounds together cost
    little more than the first two. (Bögeholz, Brand, Todor: In-database connected component analysis, ICDE 2020, with another shuffle.)
    More rounds than `max_rounds` are an error.

    An increment is the same over fewer vertices: of a component that lost a link or an identifier, each identifier is a vertex again; a
    component that lost nothing is one vertex, however large it is. A first build is an increment on an empty table.
-#}
{% materialization connected_components, adapter='postgres' %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set links = ref(config.require('links')) -%}
    {%- set identifiers = ref(config.require('identifiers')) -%}
    {%- set is_new = existing is none or not existing.is_table or should_full_refresh() -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- if is_new and existing is not none -%}
        {%- do adapter.drop_relation(existing) -%}
    {%- endif -%}
    {%- call statement('main') -%}
        {{ components_table(target_relation, sql) if is_new else 'select 1' }}
    {%- endcall -%}

    {%- do run_query(components_take_apart(target_relation, identifiers, links) if not is_new else components_take_all(links, sql)) -%}
    {%- do contract_links(config.get('max_rounds', 64)) -%}
    {%- do run_query(components_put_together(target_relation, sql, is_new)) -%}
    {%- if is_new -%}
        {%- do create_indexes(target_relation) -%}
    {%- endif -%}
    {%- do persist_docs(target_relation, model) -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{#- The empty table. -#}
{% macro components_table(target, sql) -%}
    create {{ 'unlogged' if config.get('unlogged', false) }} table {{ target }} as
    select
        identifiers.*,
        cast(null as bigint) as person_number,
        cast(null as {{ dbt.type_string() }}) as person_id,
        {{ built_at() }} as _built_at
    from ({{ sql }}) as identifiers
    where false
{%- endmacro %}

{#- The same as below when nothing is stored yet: every identifier counts by itself. -#}
{% macro components_take_all(links, sql) -%}
    create temporary table component_vertices on commit drop as
    select
        identifier_number,
        true as is_new
    from ({{ sql }}) as identifiers;
    analyze component_vertices;

    create temporary table component_links_0 on commit drop as
    select distinct
        least(identifier_number, other_identifier_number) as one,
        greatest(identifier_number, other_identifier_number) as other
    from {{ links }}
    where is_linked
        and identifier_number <> other_identifier_number;
    analyze component_links_0
{%- endmacro %}

{#-
    Makes component_vertices, the identifiers that count by themselves this time, and component_links_0, the links to look at, between
    those and the numbers of components that count as a whole.
-#}
{% macro components_take_apart(target, identifiers, links) -%}
    {%- set newest = run_query('select cast(max(_built_at) as ' ~ dbt.type_string() ~ ') from ' ~ target).rows[0][0] -%}
    {%- set since = "cast('" ~ (newest or '-infinity') ~ "' as " ~ timestamp_utc_type() ~ ")" -%}
    create temporary table component_known on commit drop as
    select
        case when not identifiers.is_gone then identifiers.identifier_number end as identifier_number,
        stored.identifier_number as stored_number,
        stored.person_number
    from {{ identifiers }} as identifiers
    left join {{ target }} as stored
        on identifiers.identifier_number = stored.identifier_number
    where identifiers._built_at > {{ since }}
        and identifiers.is_gone = (stored.identifier_number is not null);

    create temporary table component_news on commit drop as
    select
        identifier_number,
        other_identifier_number,
        is_linked
    from {{ links }}
    where _built_at > {{ since }};
    analyze component_known;
    analyze component_news;

    create temporary table component_broken on commit drop as
    select person_number
    from component_known
    where identifier_number is null
    union
    select stored.person_number
    from component_news as news
    inner join {{ target }} as stored
        on news.identifier_number = stored.identifier_number
    where not news.is_linked
    union
    select stored.person_number
    from component_news as news
    inner join {{ target }} as stored
        on news.other_identifier_number = stored.identifier_number
    where not news.is_linked;
    analyze component_broken;

    delete from {{ target }} as stored
    using component_known as known
    where known.stored_number = stored.identifier_number
        and known.identifier_number is null;

    create temporary table component_vertices on commit drop as
    select
        identifier_number,
        true as is_new
    from component_known
    where stored_number is null
    union all
    select
        stored.identifier_number,
        false
    from {{ target }} as stored
    inner join component_broken as broken
        on stored.person_number = broken.person_number;
    analyze component_vertices;

    -- what is new, and all that the identifiers have that count by themselves
    create temporary table component_looked_at on commit drop as
    select
        identifier_number,
        other_identifier_number
    from component_news
    where is_linked
    union
    select
        links.identifier_number,
        links.other_identifier_number
    from {{ links }} as links
    inner join component_vertices as vertices
        on links.identifier_number = vertices.identifier_number
    where links.is_linked
    union
    select
        links.identifier_number,
        links.other_identifier_number
    from {{ links }} as links
    inner join component_vertices as vertices
        on links.other_identifier_number = vertices.identifier_number
    where links.is_linked;
    analyze component_looked_at;

    create temporary table component_links_0 on commit drop as
    select distinct
        least(ends.one, ends.other) as one,
        greatest(ends.one, ends.other) as other
    from (
        select
            coalesce(one_vertex.identifier_number, one_stored.person_number) as one,
            coalesce(other_vertex.identifier_number, other_stored.person_number) as other
        from component_looked_at as looked_at
        left join component_vertices as one_vertex
            on looked_at.identifier_number = one_vertex.identifier_number
        left join component_vertices as other_vertex
            on looked_at.other_identifier_number = other_vertex.identifier_number
        left join {{ target }} as one_stored
            on looked_at.identifier_number = one_stored.identifier_number
        left join {{ target }} as other_stored
            on looked_at.other_identifier_number = other_stored.identifier_number
    ) as ends
    where ends.one <> ends.other;
    analyze component_links_0
{%- endmacro %}

{#- Makes component_labels: of every vertex that has a link, one vertex of its component, the same for all of them. -#}
{% macro contract_links(max_rounds) -%}
    {%- set state = namespace(rounds=0, left=run_query('select count(*) from component_links_0').rows[0][0]) -%}
    {%- for round in range(1, max_rounds + 1) -%}
        {%- if state.left -%}
            {%- do run_query(contract_once(round)) -%}
            {%- set state.rounds = round -%}
            {%- set state.left = run_query('select count(*) from component_links_' ~ round).rows[0][0] -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if state.left -%}
        {%- do exceptions.raise_compiler_error(
            'connected components: ' ~ state.left ~ ' links are left after ' ~ max_rounds ~ ' rounds'
        ) -%}
    {%- endif -%}
    {{ log('connected components: ' ~ state.rounds ~ ' rounds', info=false) }}
    {%- do run_query(unfold_labels(state.rounds)) -%}
{%- endmacro %}

{% macro contract_once(round) -%}
    {#- which of two numbers is the lesser depends on the highest bit in which they differ; xor turns half of these bits over -#}
    {%- set shuffle = "cast(x'" ~ local_md5('round ' ~ round)[:16] ~ "' as bigint)" -%}
    create temporary table component_step_{{ round }} on commit drop as
    select
        vertex,
        min(goes_to # {{ shuffle }}) # {{ shuffle }} as goes_to
    from (
        select one as vertex, one as goes_to from component_links_{{ round - 1 }}
        union all
        select one, other from component_links_{{ round - 1 }}
        union all
        select other, one from component_links_{{ round - 1 }}
        union all
        select other, other from component_links_{{ round - 1 }}
    ) as neighbours
    group by vertex;
    analyze component_step_{{ round }};

    create temporary table component_links_{{ round }} on commit drop as
    select distinct
        least(one_step.goes_to, other_step.goes_to) as one,
        greatest(one_step.goes_to, other_step.goes_to) as other
    from component_links_{{ round - 1 }} as links
    inner join component_step_{{ round }} as one_step
        on links.one = one_step.vertex
    inner join component_step_{{ round }} as other_step
        on links.other = other_step.vertex
    where one_step.goes_to <> other_step.goes_to;
    analyze component_links_{{ round }}
{%- endmacro %}

{#- Where a vertex went in the first round, went on in the second, and so on; from the last round, which is the smallest, backwards. -#}
{% macro unfold_labels(rounds) -%}
    create temporary table component_labels_{{ rounds + 1 }} on commit drop as
    select
        cast(null as bigint) as vertex,
        cast(null as bigint) as label
    where false;
    {%- for round in range(rounds, 0, -1) %}
    create temporary table component_labels_{{ round }} on commit drop as
    select
        step.vertex,
        coalesce(later.label, step.goes_to) as label
    from component_step_{{ round }} as step
    left join component_labels_{{ round + 1 }} as later
        on step.goes_to = later.vertex;
    analyze component_labels_{{ round }};
    {%- endfor %}
    alter table component_labels_1 rename to component_labels
{%- endmacro %}

{#- Names the components and writes what changed. -#}
{% macro components_put_together(target, sql, is_new) -%}
    create temporary table component_people on commit drop as
    with members as (
        select
            coalesce(vertices.identifier_number, labels.vertex) as vertex,
            coalesce(labels.label, vertices.identifier_number) as label,
            vertices.identifier_number is null as is_whole_component
        from component_vertices as vertices
        full outer join component_labels as labels
            on vertices.identifier_number = labels.vertex
    ),
    named as (
        select distinct on (members.label)
            members.label,
            identifiers.identifier_number as person_number
        from members
        inner join ({{ sql }}) as identifiers
            on members.vertex = identifiers.identifier_number
        order by members.label, identifiers.naming_rank, identifiers.card_id, identifiers.identifier_number
    )
    select
        members.vertex,
        members.is_whole_component,
        named.person_number
    from members
    inner join named
        on members.label = named.label;
    analyze component_people;

    {%- if not is_new %}

    update {{ target }} as stored
    set
        person_number = people.person_number,
        person_id = named.identifier_id,
        _built_at = {{ built_at() }}
    from component_people as people
    inner join ({{ sql }}) as named
        on people.person_number = named.identifier_number
    where people.is_whole_component
        and people.vertex = stored.person_number
        and people.person_number <> stored.person_number
        -- an identifier that counts by itself is seen to below
        and not exists (
            select 1 from component_vertices as vertices
            where vertices.identifier_number = stored.identifier_number
        );

    update {{ target }} as stored
    set
        person_number = people.person_number,
        person_id = named.identifier_id,
        _built_at = {{ built_at() }}
    from component_people as people
    inner join ({{ sql }}) as named
        on people.person_number = named.identifier_number
    where not people.is_whole_component
        and people.vertex = stored.identifier_number;
    {%- endif %}

    insert into {{ target }}
    select
        identifiers.*,
        people.person_number,
        named.identifier_id,
        {{ built_at() }}
    from component_vertices as vertices
    inner join ({{ sql }}) as identifiers
        on vertices.identifier_number = identifiers.identifier_number
    inner join component_people as people
        on vertices.identifier_number = people.vertex
    inner join ({{ sql }}) as named
        on people.person_number = named.identifier_number
    where vertices.is_new
{%- endmacro %}
