with touches as (

    select * from {{ ref('int_touch_changes') }}
    where not is_gone

),

final as (

    select
        touch_event_id,
        event_number,
        source,
        letter_id,
        person_id,
        touched_at,
        {{ data_driven_unit() }} as unit

    from touches

)

select * from final
