with sync_records as (

    select * from {{ source('ops', 'sync_records') }}
    where evidence is not null

),

sync_runs as (

    select * from {{ source('ops', 'sync_runs') }}
    -- Bitrix contacts are known by number, not by address
    where destination <> 'bitrix'

),

renamed as (

    select
        -- ids
        sync_runs.destination as esp,
        sync_runs.account,

        -- text
        {{ normalize_email('sync_records.record_key') }} as email,
        sync_records.evidence as state,

        -- timestamps; asked again, a service says the same again, which is no news of the person
        min(sync_records.at) as first_refused_at

    from sync_records
    inner join sync_runs
        on sync_records.sync_run_id = sync_runs.sync_run_id
    group by 1, 2, 3, 4

)

select * from renamed
