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
    where not exists (
        select 1
        from {{ source('esp', 'events') }} as told
        where source.source <> 'poll'
            and source._deleted_at is null
            and source.esp = told.esp
            and source.account = told.account
            and source.email = told.email
            and source.event_type = told.event_type
            and (told.source = 'poll' or (source.source = 'snapshot' and told.source = 'webhook'))
            and told._deleted_at is null
            -- two letters by what is known of both
            and coalesce(source.message_ref, told.message_ref, '') = coalesce(told.message_ref, source.message_ref, '')
            and (
                (
                    source.campaign_id = told.campaign_id
                    and (
                        -- happens to a letter once, or is all that a last state can say
                        source.event_type not in ('opened', 'clicked')
                        or source.source = 'snapshot'
                    )
                )
                or (
                    coalesce(source.campaign_id, told.campaign_id, '') = coalesce(told.campaign_id, source.campaign_id, '')
                    and abs({{ seconds_between('told.occurred_at', 'source.occurred_at') }}) <= {{ var('webhook_match_seconds') }}
                    and coalesce(source.url, '') = coalesce(told.url, '')
                )
            )
    )

)

select * from renamed
