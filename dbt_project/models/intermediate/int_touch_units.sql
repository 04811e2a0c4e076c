with touches as (

    select * from {{ ref('int_touches') }}

),

letters as (

    select * from {{ ref('int_letters') }}

),

placed as (

    select
        touches.*,
        'email' as channel,
        touches.source || ':' || coalesce(letters.campaign_name, letters.utm_campaign, letters.letter_id) as campaign

    from touches
    left join letters
        on touches.letter_id = letters.letter_id

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

    from placed

)

select * from final
