{#- Whether two claims of one raw row are about the same identifiers; one that says nothing has none. -#}
{% macro same_claim(one, other) -%}
    coalesce({{ one }}.identifier_number, 0) = coalesce({{ other }}.identifier_number, 0)
            and coalesce({{ one }}.other_identifier_number, 0) = coalesce({{ other }}.other_identifier_number, 0)
{%- endmacro %}

{#-
    The people whose identifiers, or whose evidence for them, changed after the build `since`, a select of `person_id`: those that got an
    identifier, that had one and lost it, and those that are nobody any more.
-#}
{% macro people_with_news(since) -%}
    select person_id from {{ ref('int_identifiers_joined') }} where _built_at > {{ since }}
    union
    select identifier_id from {{ ref('int_identifiers_joined') }} where _built_at > {{ since }}
    union
    select identifier_id from {{ ref('int_identifiers') }} where _built_at > {{ since }}
    {%- for side in ['identifier_number', 'other_identifier_number'] %}
    union
    select person_id from {{ ref('int_identifiers_joined') }}
    where {{ among('identifier_number', 'select ' ~ side ~ ' from ' ~ ref('int_identity_claims') ~ ' where _built_at > ' ~ since) }}
    {%- endfor %}
{%- endmacro %}

{#-
    Every identifier that a standing claim names, once per claim: an address or a recycle bin row is only a way to one. With `touched`, a
    select of numbers, only those.
-#}
{% macro claimed_identifiers(touched=none) -%}
    {{ return(adapter.dispatch('claimed_identifiers')(touched)) }}
{%- endmacro %}

{% macro default__claimed_identifiers(touched=none) -%}
    select
        kind,
        identifier,
        identifier_number
    from {{ ref('int_identity_claims_standing') }}
    where kind in ('contact', 'lead', 'company', 'user', 'email', 'phone')
    {%- if touched %}
        and {{ among('identifier_number', touched) }}
    {%- endif %}

    union all

    select
        other_kind,
        other_identifier,
        other_identifier_number
    from {{ ref('int_identity_claims_standing') }}
    where other_kind in ('contact', 'lead', 'company', 'user', 'email', 'phone')
    {%- if touched %}
        and {{ among('other_identifier_number', touched) }}
    {%- endif %}
{%- endmacro %}

{#- The same with one look at all claims instead of two. -#}
{% macro postgres__claimed_identifiers(touched=none) -%}
    {%- if touched -%}
    {{ default__claimed_identifiers(touched) }}
    {%- else -%}
    select
        ends.kind,
        ends.identifier,
        ends.identifier_number
    from {{ ref('int_identity_claims_standing') }} as claims
    cross join lateral (
        values
            (claims.kind, claims.identifier, claims.identifier_number),
            (claims.other_kind, claims.other_identifier, claims.other_identifier_number)
    ) as ends (kind, identifier, identifier_number)
    where ends.kind in ('contact', 'lead', 'company', 'user', 'email', 'phone')
    {%- endif -%}
{%- endmacro %}

{#- A pre-hook of dim_person: drops those who are nobody any more, because their identifiers are other people's now or are gone. -#}
{% macro drop_people_gone() -%}
    {%- set since = incremental_since() if execute -%}
    {%- if since -%}
        delete from {{ this }} as people
        where {{ among('people.person_id', people_with_news(since)) }}
            and not exists (
                select 1
                from {{ ref('int_identifiers_joined') }} as identifiers
                where identifiers.person_id = people.person_id
            )
    {%- endif -%}
{%- endmacro %}
