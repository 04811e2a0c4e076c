{#- The ledger's open rows side by side, kept by conversion: what is summed up by letter or unit does not have to read them all again. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['conversion_id']}, {'columns': ['_built_at']}],
    pre_hook="{{ drop_changed_rows('int_conversion_inputs', key='conversion_id') }}"
) }}

-- depends_on: {{ ref('int_conversion_inputs') }}
{%- set since = incremental_since() %}

with credits as (

    select * from {{ ref('fct_attribution_credits') }}

),

{%- if since %}

inputs as (

    select conversion_id
    from {{ ref('int_conversion_inputs') }}
    where _built_at > {{ since }}

),
{%- endif %}

conversions as (

    select * from {{ ref('int_conversion_changes') }}
    where not is_gone

),

credited as (

    select
        credits.conversion_id,
        credits.conversion_type,
        credits.letter_id,
        credits.campaign,
        credits.channel,
        credits.model,
        credits.credit,
        credits.amount,
        conversions.is_revenue,
        case when credits.touch_event_id is null then 0 else 1 end as is_touch

    from credits
    {%- if since %}
    inner join inputs
        on credits.conversion_id = inputs.conversion_id
    {%- endif %}
    inner join conversions
        on credits.conversion_id = conversions.conversion_id

),

{%- set first_model = attribution_models().keys() | first %}

final as (

    select
        conversion_id,
        conversion_type,
        letter_id,
        campaign,
        channel,
        is_revenue,
        cast(sum(case when model = '{{ first_model }}' then is_touch else 0 end) as integer) as touch_count,
        {%- for model in attribution_models() %}
        cast(sum(case when model = '{{ model }}' then credit else 0 end) as numeric(12, 10)) as credit_{{ model }},
        cast(sum(case when model = '{{ model }}' then amount else 0 end) as numeric(18, 2)) as amount_{{ model }},
        {%- endfor %}
        {{ built_at() }} as _built_at

    from credited
    group by
        conversion_id,
        conversion_type,
        letter_id,
        campaign,
        channel,
        is_revenue

)

select * from final
