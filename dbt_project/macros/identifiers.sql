{#- Every identifier that a standing claim names, once per claim: an address or a recycle bin row is only a way to one. -#}
{% macro claimed_identifiers() -%}
    {{ return(adapter.dispatch('claimed_identifiers')()) }}
{%- endmacro %}

{% macro default__claimed_identifiers() -%}
    select
        kind,
        identifier,
        identifier_number
    from {{ ref('int_identity_claims_standing') }}
    where kind in ('contact', 'lead', 'company', 'user', 'email', 'phone')

    union all

    select
        other_kind,
        other_identifier,
        other_identifier_number
    from {{ ref('int_identity_claims_standing') }}
    where other_kind in ('contact', 'lead', 'company', 'user', 'email', 'phone')
{%- endmacro %}

{#- The same with one look at the claims instead of two. -#}
{% macro postgres__claimed_identifiers() -%}
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
{%- endmacro %}

{#- A pre-hook of int_identifiers: an identifier that nothing names any more goes. -#}
{% macro drop_unclaimed_identifiers() -%}
    {%- if execute and is_incremental() -%}
        delete from {{ this }} as stored
        where not exists (
            select 1
            from ({{ claimed_identifiers() }}) as claimed
            where claimed.identifier_number = stored.identifier_number
        )
    {%- endif -%}
{%- endmacro %}
