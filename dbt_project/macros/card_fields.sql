{#-
    The rest of a mart of what a CRM card shows about its person, after the CTE `cards` with the card's number in `key`, preferred_email,
    person_id, is_marketing_allowed and the `more` columns.
-#}
{% macro card_fields(key, more=[]) -%}
people as (

    select * from {{ ref('dim_person') }}

),

best_letters as (

    select * from {{ ref('mart_crm_best_letters') }}

),

letters as (

    select * from {{ ref('dim_letter') }}

),

-- a version that is a fingerprint is told by its beginning
consents as (

    select
        email,
        consented_at,
        is_time_known,
        source,
        agreement_name,
        case when length(text_version) = 32 then substring(text_version, 1, 8) else text_version end as text_version

    from {{ ref('dim_consent') }}

),

final as (

    select
        cast(cards.{{ key }} as bigint) as {{ key }},
        cards.person_id,
        cards.is_marketing_allowed,
        {%- for column in more %}
        cards.{{ column }},
        {%- endfor %}
        people.last_opened_at,
        people.last_clicked_at,
        best_letters.letter_id as best_letter_id,
        coalesce(letters.title, letters.subject, best_letters.letter_id) as best_letter,
        -- a time that is only a bound moves with the card, and every write moves the card
        case when consents.is_time_known then consents.consented_at end as consented_at,
        consents.source as consent_source,
        coalesce(
            consents.agreement_name || ' / ' || consents.text_version,
            consents.agreement_name,
            consents.text_version
        ) as consent_text

    from cards
    left join people
        on cards.person_id = people.person_id
    left join best_letters
        on cards.person_id = best_letters.person_id
    left join letters
        on best_letters.letter_id = letters.letter_id
    left join consents
        on cards.preferred_email = consents.email

)

select * from final
{%- endmacro %}
