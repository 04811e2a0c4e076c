{#-
    The CTEs `known` and `final` of a model that writes down what its source does not keep: the rows of `current`, another CTE, of which no
    `version` is known or whose `version` is another than the newest known. `keys` say what a row is about; `seen_from` when it was written.
-#}
{% macro newer_versions(current, keys, version) -%}
{% if is_incremental() -%}
known as (

    select
        {{ keys | join(',\n        ') }},
        {{ version }},
        row_number() over (
            partition by {{ keys | join(', ') }}
            order by seen_from desc
        ) as age

    from {{ this }}

),

final as (

    select {{ current }}.*
    from {{ current }}
    left join known
        on known.age = 1
        {%- for key in keys %}
            and {{ current }}.{{ key }} = known.{{ key }}
        {%- endfor %}
    where known.{{ keys[0] }} is null
        or known.{{ version }} <> {{ current }}.{{ version }}

)
{%- else -%}
final as (

    select * from {{ current }}

)
{%- endif %}
{%- endmacro %}
