with engagement as (

    select * from {{ ref('int_person_engagement') }}
    where not is_gone

),

first_letters as (

    select
        person_id,
        first_letter_at as first_sent_at,
        first_letter_id as letter_id

    from engagement
    where first_letter_id is not null

)

select * from first_letters
