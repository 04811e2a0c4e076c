-- What happened to a list of $people addresses in $days days from $start on, as plain facts in the schema bench; loads.sql
-- writes them into the raw tables as a site and its services would hold them. Every number comes from a hash, so the same
-- size gives the same world. Times are those of the site's clock.
--
-- A letter a day goes to every $stride th person. Some people are far keener than others, so paths have one touch or ten.

create schema bench;

-- A number in [0, 1) that looks random and never changes.
create function bench.luck(n bigint, what integer) returns double precision
language sql immutable parallel safe
return ((hashint8extended(n, what) >> 11) & 9007199254740991)::double precision / 9007199254740992;

-- Seconds of a wait with this mean.
create function bench.wait(luck double precision, mean_seconds double precision) returns interval
language sql immutable parallel safe
return make_interval(secs => floor(-ln(1 - luck) * mean_seconds));

create unlogged table bench.people as
with drawn as (
    select
        person,
        -- a few mailboxes belong to four people, from the beginning; a scanner guards the mail of whole companies
        bench.luck(person, 20) * case when person % 1000 < 4 then 0.9 else 1 end as age,
        case
            when person % 1000 < 4 then 'info@office' || person / 1000 || '.example'
            when person % 83 = 0 then 'person' || person || '@corp' || person / 83 % 40 || '.example'
            else 'person' || person || '@' || (array['mail', 'inbox', 'post', 'letters', 'box'])[1 + person % 5] || '.example'
        end as email
    from generate_series(1, $people) as person
)

select
    person,
    email,
    -- one in a hundred has the phone of their neighbour
    '+79' || lpad((person - case when person % 100 = 1 then 1 else 0 end)::text, 9, '0') as phone,
    power(bench.luck(person, 21), 2) as zeal,
    case
        when age < 0.9 then timestamp '$start' - interval '400 days' * (age + 0.01)
        else timestamp '$start' + interval '1 day' * floor((age - 0.9) * 10 * ($days + $more_days)) + interval '9 hours'
    end as created_at,
    person % 12 = 0 as has_proxy,
    person % 83 = 0 as has_scanner,
    bench.luck(person, 22) < 0.005 as is_dead
from drawn;
alter table bench.people add primary key (person);
analyze bench.people;

create unlogged table bench.letters as
select
    letter,
    1 + letter % 20 as campaign,
    timestamp '$start' + interval '1 day' * (letter - 1) + interval '10 hours' as sent_at,
    case letter % 10 when 2 then 'mailchimp' when 5 then 'esputnik' when 8 then 'unisender' else 'bitrix' end as source
from generate_series(1, $days + $more_days) as letter;
analyze bench.letters;

create unlogged table bench.sends as
with planned as (
    select
        (letters.letter - 1) * ($people / $stride) + slot + 1 as recipient,
        letters.letter,
        letters.source,
        letters.sent_at as letter_at,
        1 + slot * $stride + letters.letter * 7 % $stride as person
    from bench.letters
    cross join generate_series(0, $people / $stride - 1) as slot
),

sent as (
    select
        planned.*,
        people.zeal,
        people.has_proxy,
        people.has_scanner,
        date_trunc('second', planned.letter_at + bench.luck(planned.recipient, 1) * interval '2 hours') as sent_at,
        people.is_dead or bench.luck(planned.recipient, 2) < 0.01 as has_failed
    from planned
    inner join bench.people on planned.person = people.person
    where planned.letter_at > people.created_at
),

opened as (
    select
        *,
        case
            when not has_failed and bench.luck(recipient, 3) < zeal * 1.05
                then sent_at + interval '90 seconds' + bench.wait(bench.luck(recipient, 4), 28800)
        end as opened_at,
        case when has_proxy and not has_failed then sent_at + interval '1 second' * (1 + recipient % 40) end as proxy_opened_at,
        case when has_scanner and not has_failed then sent_at + interval '1 second' * (2 + recipient % 6) end as scanned_at
    from sent
),

clicked as (
    select
        *,
        case
            when bench.luck(recipient, 5) < zeal * 0.85
                then opened_at + interval '10 seconds' + bench.wait(bench.luck(recipient, 6), 60)
        end as clicked_at,
        case when bench.luck(recipient, 7) < 0.008 then opened_at + interval '1 minute' end as left_at
    from opened
)

select
    recipient,
    letter,
    source,
    person,
    sent_at,
    has_failed,
    opened_at,
    proxy_opened_at,
    scanned_at,
    clicked_at,
    left_at
from clicked;
create index on bench.sends (sent_at);
analyze bench.sends;

create unlogged table bench.clicks as
select
    row_number() over (order by recipient) as n,
    recipient,
    letter,
    source,
    person,
    clicked_at
from bench.sends
where clicked_at is not null;
alter table bench.clicks add primary key (n);
analyze bench.clicks;

-- Who buys has clicked, mostly not long ago; every fourth comes at another time, for another reason.
create unlogged table bench.leads as
with drawn as (
    select
        lead,
        1 + floor(bench.luck(lead, 30) * (select count(*) from bench.clicks))::bigint as click,
        bench.luck(lead, 31) < 0.75 as is_caused,
        bench.luck(lead, 34) as outcome
    from generate_series(1, $leads) as lead
),

created as (
    select
        drawn.lead,
        drawn.outcome,
        drawn.is_caused,
        clicks.person,
        clicks.letter,
        clicks.source,
        clicks.recipient,
        case
            when drawn.is_caused then clicks.clicked_at + bench.wait(bench.luck(drawn.lead, 32), 500000)
            else timestamp '$start' + date_trunc('second', bench.luck(drawn.lead, 33) * interval '1 day' * ($days + $more_days))
        end as created_at
    from drawn
    inner join bench.clicks on drawn.click = clicks.n
)

select
    *,
    case
        when outcome < 0.5 then 'CONVERTED'
        when outcome < 0.75 then 'JUNK'
    end as final_status,
    case when outcome < 0.75 then created_at + bench.wait(bench.luck(lead, 35), 400000) end as closed_at
from created;
analyze bench.leads;

create unlogged table bench.deals as
with from_leads as (
    select lead as deal, lead, person, closed_at as created_at
    from bench.leads
    where final_status = 'CONVERTED'
),

direct as (
    select
        $leads + number as deal,
        null::bigint as lead,
        clicks.person,
        clicks.clicked_at + bench.wait(bench.luck(number, 41), 800000) as created_at
    from generate_series(1, $direct_deals) as number
    inner join bench.clicks
        on 1 + floor(bench.luck(number, 40) * (select count(*) from bench.clicks))::bigint = clicks.n
),

drawn as (
    select *, bench.luck(deal, 42) as outcome, bench.luck(deal, 45) as money from from_leads
    union all
    select *, bench.luck(deal, 42) as outcome, bench.luck(deal, 45) as money from direct
)

select
    deal,
    lead,
    person,
    created_at,
    case when outcome < 0.6 then 'WON' when outcome < 0.8 then 'LOSE' end as final_stage,
    case when outcome < 0.8 then created_at + bench.wait(bench.luck(deal, 43), 1000000) end as closed_at,
    case when deal % 13 = 0 then 'USD' when deal % 31 = 0 then 'EUR' else 'RUB' end as currency,
    round((500 + power(money, 3) * 200000)::numeric, 2) as amount
from drawn;
analyze bench.deals;

create unlogged table bench.orders as
with drawn as (
    select
        number::integer as "order",
        clicks.person,
        clicks.letter,
        clicks.source,
        clicks.recipient,
        clicks.clicked_at + bench.wait(bench.luck(number, 51), 300000) as created_at,
        bench.luck(number, 52) as outcome
    from generate_series(1, $orders) as number
    inner join bench.clicks
        on 1 + floor(bench.luck(number, 50) * (select count(*) from bench.clicks))::bigint = clicks.n
)

select
    *,
    case when outcome < 0.82 then created_at + bench.wait(bench.luck("order", 53), 3600) end as paid_at,
    case when outcome >= 0.94 then created_at + interval '1 day' end as canceled_at,
    round((300 + power(bench.luck("order", 54), 3) * 50000)::numeric, 2) as amount
from drawn;
analyze bench.orders;
