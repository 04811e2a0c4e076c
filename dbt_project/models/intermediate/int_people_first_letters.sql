{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with messages as (

    select * from {{ ref('int_messages') }}
    where is_sent
        and person_id is not null
        and letter_id is not null

),

first_times as (

    select
        person_id,
        min(sent_at) as first_sent_at

    from messages
    group by person_id

),

-- two letters of one second: one of them, and always the same
first_letters as (

    select
        first_times.person_id,
        first_times.first_sent_at,
        min(messages.letter_id) as letter_id

    from first_times
    inner join messages
        on first_times.person_id = messages.person_id
            and first_times.first_sent_at = messages.sent_at
    group by
        first_times.person_id,
        first_times.first_sent_at

)

select * from first_letters
