{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

{#
    What people chose to read, as the CRM's custom fields and the ESPs' groups, tags and lists say it. Which of them stands for
    which category is in the seed preference_names. Whoever filled in a list of topics said no to those left out; whoever
    never chose any said nothing.
#}
with preference_names as (

    select * from {{ ref('preference_names') }}

),

contact_fields as (

    select * from {{ ref('stg_bitrix__contact_fields') }}

),

contact_choices as (

    select * from {{ ref('stg_bitrix__contact_choices') }}

),

custom_fields as (

    select * from {{ ref('stg_bitrix__custom_fields') }}

),

custom_field_choices as (

    select * from {{ ref('stg_bitrix__custom_field_choices') }}

),

contacts as (

    select * from {{ ref('stg_bitrix__contacts') }}

),

-- imported once for each use: what is used twice is first worked out whole, with all its columns
grouped_subscribers as (

    select * from {{ ref('stg_esp__contacts') }}
    where not is_deleted
        and {{ json_is_filled('custom_fields') }}

),

tagged_subscribers as (

    select * from {{ ref('stg_esp__contacts') }}
    where not is_deleted
        and {{ json_is_filled('tags') }}

),

listed_subscribers as (

    select * from {{ ref('stg_esp__contacts') }}
    where not is_deleted
        and status in ('subscribed', 'unsubscribed')

),

lists as (

    select * from {{ ref('stg_esp__lists') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    where card_type = 'contact'

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

crm_flags as (

    select
        contact_fields.contact_id,
        preference_names.category,
        {{ text_to_boolean(json_value_text('contact_fields.field_values', 'preference_names.name')) }} as is_wanted,
        'b_uts_crm_contact.' || preference_names.name || ':' || contact_fields.contact_id as evidence

    from contact_fields
    cross join preference_names
    where preference_names.kind = 'crm_flag'

),

chosen as (

    select
        contact_choices.contact_id,
        custom_fields.field_name,
        custom_field_choices.choice_name

    from contact_choices
    inner join custom_field_choices
        on contact_choices.choice_id = custom_field_choices.choice_id
    inner join custom_fields
        on contact_choices.field_id = custom_fields.field_id
            and custom_field_choices.field_id = custom_fields.field_id
    where custom_fields.entity = 'crm_contact'

),

asked as (

    select distinct
        contact_id,
        field_name

    from chosen

),

crm_choices as (

    select
        asked.contact_id,
        preference_names.category,
        chosen.contact_id is not null as is_wanted,
        'b_utm_crm_contact.' || asked.field_name || ':' || asked.contact_id as evidence

    from asked
    inner join preference_names
        on asked.field_name = preference_names.name
            and preference_names.kind = 'crm_choice'
    left join chosen
        on asked.contact_id = chosen.contact_id
            and asked.field_name = chosen.field_name
            and preference_names.value = chosen.choice_name

),

crm_statements as (

    select * from crm_flags where is_wanted is not null
    union all
    select * from crm_choices

),

esp_groups as (

    select
        grouped_subscribers.subscriber_id,
        grouped_subscribers.esp,
        grouped_subscribers.email,
        coalesce(grouped_subscribers.changed_at, grouped_subscribers.opted_in_at) as changed_at,
        preference_names.category,
        {{ text_to_boolean(json_value_text('grouped_subscribers.custom_fields', 'preference_names.name')) }} as is_wanted

    from grouped_subscribers
    inner join preference_names
        on preference_names.kind = 'esp_group'
            and preference_names.source in (grouped_subscribers.esp, 'any')

),

-- a service shows the groups of somebody who never saw them as not chosen
group_choosers as (

    select distinct subscriber_id
    from esp_groups
    where is_wanted

),

esp_tags as (

    select
        tagged_subscribers.subscriber_id,
        tagged_subscribers.esp,
        tagged_subscribers.email,
        coalesce(tagged_subscribers.changed_at, tagged_subscribers.opted_in_at) as changed_at,
        preference_names.category,
        true as is_wanted

    from tagged_subscribers
    inner join preference_names
        on preference_names.kind = 'esp_tag'
            and preference_names.source in (tagged_subscribers.esp, 'any')
            and {{ json_list_has('tagged_subscribers.tags', 'preference_names.name') }}

),

esp_lists as (

    select
        listed_subscribers.subscriber_id,
        listed_subscribers.esp,
        listed_subscribers.email,
        coalesce(listed_subscribers.changed_at, listed_subscribers.opted_in_at) as changed_at,
        preference_names.category,
        listed_subscribers.status = 'subscribed' as is_wanted

    from listed_subscribers
    inner join lists
        on listed_subscribers.esp = lists.esp
            and listed_subscribers.account = lists.account
            and listed_subscribers.list_id = lists.list_id
    inner join preference_names
        on preference_names.kind = 'esp_list'
            and preference_names.source in (listed_subscribers.esp, 'any')
            and lower(lists.list_name) = lower(preference_names.name)

),

esp_statements as (

    select esp_groups.*
    from esp_groups
    inner join group_choosers
        on esp_groups.subscriber_id = group_choosers.subscriber_id
    where esp_groups.is_wanted is not null
    union all
    select * from esp_tags
    union all
    select * from esp_lists

),

-- neither side dates a choice; it is as old as the last change of its record, at the youngest
statements as (

    select
        people_crm_cards.person_id,
        crm_statements.category,
        case when crm_statements.is_wanted then 'subscribed' else 'unsubscribed' end as state,
        'bitrix' as source,
        crm_statements.evidence,
        coalesce(contacts.modified_at, contacts.created_at) as changed_at

    from crm_statements
    inner join contacts
        on crm_statements.contact_id = contacts.contact_id
    inner join people_crm_cards
        on crm_statements.contact_id = people_crm_cards.card_id

    union all

    select
        people_emails.person_id,
        esp_statements.category,
        case when esp_statements.is_wanted then 'subscribed' else 'unsubscribed' end as state,
        esp_statements.esp as source,
        'raw_esp.contacts:' || esp_statements.subscriber_id as evidence,
        esp_statements.changed_at

    from esp_statements
    inner join people_emails
        on esp_statements.email = people_emails.email

),

-- a group and a tag of one contact may say the same
final as (

    select
        person_id,
        category,
        state,
        source,
        evidence,
        max(changed_at) as changed_at

    from statements
    group by
        person_id,
        category,
        state,
        source,
        evidence

)

select * from final
