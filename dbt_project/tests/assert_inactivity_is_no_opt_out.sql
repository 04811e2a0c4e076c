-- Nobody is kept from everything for not reading, and nobody is called inactive who gave a sign of life lately.
select
    suppressions.email,
    suppressions.scope,
    suppressions.state

from {{ ref('dim_suppression') }} as suppressions
inner join {{ ref('dim_person') }} as people
    on suppressions.person_id = people.person_id
where suppressions.state = 'inactive'
    and (
        suppressions.scope <> 'regular_letters'
        or people.last_opened_at > {{ add_seconds(run_at(), -86400 * var('inactive_suppression_days')) }}
        or people.last_clicked_at > {{ add_seconds(run_at(), -86400 * var('inactive_suppression_days')) }}
    )

union all

select
    email,
    scope,
    state

from {{ ref('dim_suppression') }}
where scope = 'regular_letters'
    and state <> 'inactive'
