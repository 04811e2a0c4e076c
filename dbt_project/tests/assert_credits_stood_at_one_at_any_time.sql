-- Whenever an answer of the ledger began, the rows that held then summed to exactly 1, per conversion and model.
with ledger as (

    select * from {{ ref('fct_attribution_ledger') }}

),

-- the others have one answer only, whose sum another test looks at
restated as (

    select distinct conversion_id
    from ledger
    where valid_to is not null

),

moments as (

    select distinct
        ledger.conversion_id,
        ledger.model,
        ledger.valid_from as moment

    from ledger
    inner join restated
        on ledger.conversion_id = restated.conversion_id
    where ledger.valid_to is null
        or ledger.valid_to > ledger.valid_from

)

select
    moments.conversion_id,
    moments.model,
    moments.moment,
    sum(ledger.credit) as credit

from moments
inner join ledger
    on moments.conversion_id = ledger.conversion_id
        and moments.model = ledger.model
        and moments.moment >= ledger.valid_from
        and (ledger.valid_to is null or moments.moment < ledger.valid_to)
group by
    moments.conversion_id,
    moments.model,
    moments.moment
having sum(ledger.credit) <> 1
