with evidence as (

    select * from {{ ref('fct_suppression_evidence') }}

),

ranked as (

    select
        *,
        row_number() over (
            partition by email, scope
            order by
                {{ suppression_rank('state') }},
                is_from_other_email,
                is_time_known desc,
                evidenced_at,
                source,
                evidence
        ) as strength

    from evidence
    where is_standing

),

final as (

    select
        email,
        person_id,
        scope,
        state,
        source,
        evidence,
        evidenced_at,
        is_from_other_email

    from ranked
    where strength = 1

)

select * from final
