{#- Every identifier that a standing claim names, once per claim: an address or a recycle bin row is only a way to one. -#}
{% macro claimed_identifiers() -%}
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
