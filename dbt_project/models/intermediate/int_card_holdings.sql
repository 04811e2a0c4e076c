{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key=['identifier_number', 'other_identifier_number'],
    unlogged=false,
    indexes=[{'columns': ['identifier_number']}, {'columns': ['other_identifier_number']}, {'columns': ['_built_at']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#-
    Over numbers throughout, because there are millions. A pair that is no more stays with `is_held` false, so that readers hear of it. In an
    increment only the cards are looked at about which claims changed, also by way of an address or of a row of the recycle bin.
-#}
-- depends_on: {{ ref('int_identity_claims') }}
{%- set since = incremental_since() %}
{%- set cards = ['contact', 'lead', 'company', 'user'] %}
{%- set card_kinds = "('" ~ cards | join("', '") ~ "')" %}

{% if since -%}
with changed_claims as (

    select
        kind,
        identifier_number,
        other_kind,
        other_identifier_number

    from {{ ref('int_identity_claims') }}
    where _built_at > {{ since }}
        and kind is not null

),

touched as (

    select identifier_number
    from changed_claims
    where kind in {{ card_kinds }}

    union

    select other_identifier_number
    from changed_claims
    where kind = 'recycled'
        and other_kind in {{ card_kinds }}

    union

    select identifier_number
    from {{ ref('int_identity_claims') }}
    where {{ among('other_identifier_number', "select identifier_number from changed_claims where kind = 'address'") }}
        and kind in {{ card_kinds }}

    union

    select other_identifier_number
    from {{ ref('int_identity_claims') }}
    where {{ among('identifier_number', "select identifier_number from changed_claims where kind = 'recycled'") }}
        and other_kind in {{ card_kinds }}

),

claims as (

    select * from {{ ref('int_identity_claims_standing') }}
    where {{ among('identifier_number', 'select identifier_number from touched') }}
        and other_identifier_number is not null

),

addresses as (

    select * from {{ ref('int_identity_claims_standing') }}
    where {{ among('identifier_number', "select other_identifier_number from claims where other_kind = 'address'") }}
        and kind = 'address'
        and other_identifier_number is not null

),

recycled_cards as (

    select * from {{ ref('int_identity_claims_standing') }}
    where {{ among('other_identifier_number', 'select identifier_number from touched') }}
        and kind = 'recycled'

),

recycled_holdings as (

    select * from {{ ref('int_identity_claims_standing') }}
    where {{ among('identifier_number', 'select identifier_number from recycled_cards') }}
        and kind = 'recycled'
        and other_kind in ('email', 'phone')

),

stored as (

    select * from {{ this }}
    where {{ among('identifier_number', 'select identifier_number from touched') }}

),
{%- else -%}
with claims as (

    select * from {{ ref('int_identity_claims_standing') }}
    where other_identifier_number is not null

),

addresses as (

    select * from claims
    where kind = 'address'

),

recycled_cards as (

    select * from claims
    where kind = 'recycled'
        and other_kind in ('contact', 'lead', 'company')

),

recycled_holdings as (

    select * from claims
    where kind = 'recycled'
        and other_kind in ('email', 'phone')

),

stored as (

    select
        cast(null as {{ dbt.type_string() }}) as kind,
        cast(null as {{ dbt.type_bigint() }}) as identifier_number,
        cast(null as {{ dbt.type_string() }}) as other_kind,
        cast(null as {{ dbt.type_bigint() }}) as other_identifier_number,
        false as is_held
    where false

),
{%- endif %}

holdings as (

    select
        kind,
        identifier_number,
        other_kind,
        other_identifier_number

    from claims
    where kind in {{ card_kinds }}
        and other_kind <> 'address'

    union

    select
        claims.kind,
        claims.identifier_number,
        addresses.other_kind,
        addresses.other_identifier_number

    from claims
    inner join addresses
        on claims.other_identifier_number = addresses.identifier_number
    where claims.other_kind = 'address'

    union

    select
        recycled_cards.other_kind,
        recycled_cards.other_identifier_number,
        recycled_holdings.other_kind,
        recycled_holdings.other_identifier_number

    from recycled_holdings
    inner join recycled_cards
        on recycled_holdings.identifier_number = recycled_cards.identifier_number

),

changed as (

    select
        coalesce(holdings.kind, stored.kind) as kind,
        coalesce(holdings.identifier_number, stored.identifier_number) as identifier_number,
        coalesce(holdings.other_kind, stored.other_kind) as other_kind,
        coalesce(holdings.other_identifier_number, stored.other_identifier_number) as other_identifier_number,
        holdings.identifier_number is not null as is_held

    from holdings
    full outer join stored
        on holdings.identifier_number = stored.identifier_number
            and holdings.other_identifier_number = stored.other_identifier_number
    where (holdings.identifier_number is not null) <> coalesce(stored.is_held, false)

)

select
    *,
    {{ built_at() }} as _built_at

from changed
