{#
    The same thing may be known twice: a webhook told it at once and a poll brought it later, under another id. The poll's row
    counts. A last state says only that something happened at least once, so any other row of the same says more.
#}
with source as (

    select
        *,
        {{ normalize_email('email') }} as normalized_email

    from {{ source('esp', 'events') }}

),

hearsay as (

    select * from source
    where source <> 'poll'

),

repeated as (

    select distinct
        hearsay.esp,
        hearsay.account,
        hearsay.external_id

    from hearsay
    inner join source as told
        on hearsay.esp = told.esp
            and hearsay.account = told.account
            and hearsay.email = told.email
            and hearsay.event_type = told.event_type
    where
        (told.source = 'poll' or (hearsay.source = 'snapshot' and told.source = 'webhook'))
        and told._deleted_at is null
        and hearsay._deleted_at is null
        -- two letters by what is known of both
        and coalesce(hearsay.message_ref, told.message_ref, '') = coalesce(told.message_ref, hearsay.message_ref, '')
        and (
            (
                hearsay.campaign_id = told.campaign_id
                and (
                    -- happens to a letter once, or is all that a last state can say
                    hearsay.event_type not in ('opened', 'clicked')
                    or hearsay.source = 'snapshot'
                )
            )
            or (
                coalesce(hearsay.campaign_id, told.campaign_id, '') = coalesce(told.campaign_id, hearsay.campaign_id, '')
                and abs({{ seconds_between('told.occurred_at', 'hearsay.occurred_at') }}) <= {{ var('webhook_match_seconds') }}
                and coalesce(hearsay.url, '') = coalesce(told.url, '')
            )
        )

),

renamed as (

    select
        -- ids
        source.esp || ':' || source.account || ':' || source.external_id as event_id,
        source.esp || ':' || source.account || ':' || source.campaign_id as letter_id,
        source.esp || ':' || source.account || ':' || source.campaign_id || ':'
        || {{ dbt.hash('source.normalized_email') }} as message_id,
        source.esp,
        source.account,
        source.message_ref,

        -- text
        source.normalized_email as email,
        source.event_type,
        source.bounce_kind,
        nullif(source.url, '') as url,
        source.source as known_from,
        source.reason,

        -- booleans
        source.is_proxy,
        source._deleted_at is not null as is_deleted,

        -- timestamps
        source.occurred_at

    from source
    left join repeated
        on source.esp = repeated.esp
            and source.account = repeated.account
            and source.external_id = repeated.external_id
    where repeated.external_id is null

)

select * from renamed
