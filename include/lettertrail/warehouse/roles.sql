-- Who may do what. Run by lettertrail.warehouse.roles.apply_roles after the migrations; may be run again.
-- Passwords are not here: apply_roles sets them, already hashed.

do $$
declare
    role_name text;
begin
    foreach role_name in array array[
        'lettertrail_loader', 'lettertrail_dbt', 'lettertrail_sync', 'lettertrail_reader', 'lettertrail_inbox',
        'lettertrail_relay', 'lettertrail_eraser'
    ]
    loop
        if not exists (select from pg_catalog.pg_roles where rolname = role_name) then
            execute format('create role %I login nosuperuser nocreatedb nocreaterole noinherit', role_name);
        end if;
    end loop;
    -- Nobody but these (and the owner) gets in.
    execute format('revoke all on database %I from public', current_database());
    execute format(
        'grant connect, temporary on database %I to lettertrail_loader, lettertrail_dbt, lettertrail_sync, lettertrail_reader',
        current_database()
    );
    execute format('grant connect on database %I to lettertrail_inbox, lettertrail_relay, lettertrail_eraser', current_database());
    -- dbt makes its schemas itself, also the one for stored test failures.
    execute format('grant create on database %I to lettertrail_dbt', current_database());
end
$$;

-- The dbt schemas, made here so that the default privileges below have something to stand on.
grant lettertrail_dbt to current_user;
create schema if not exists staging authorization lettertrail_dbt;
create schema if not exists intermediate authorization lettertrail_dbt;
create schema if not exists marts authorization lettertrail_dbt;
create schema if not exists segments authorization lettertrail_dbt;

-- lettertrail_loader: fills raw_*, keeps the load ledger, records what the quality doors said.
grant usage, create on schema raw_bitrix, raw_esp, raw_inbox to lettertrail_loader;
grant select, insert, update, delete on all tables in schema raw_bitrix, raw_esp, raw_inbox to lettertrail_loader;
-- What people chose is written by them alone and stays as it is.
revoke insert, update, delete, truncate on raw_inbox.choices, raw_inbox.choice_texts from lettertrail_loader;
grant usage on schema ops to lettertrail_loader;
grant select, insert on ops.loads, ops.quarantine, ops.verifications, ops.quality_checks to lettertrail_loader;
grant select, insert, update on ops.cursors, ops.copies, ops.copy_ranges to lettertrail_loader;
grant select, insert, update on ops.table_freshness to lettertrail_loader;
grant select, insert, delete on ops.untold_notices to lettertrail_loader;
-- a load takes its number first: its rows carry it
grant usage on sequence ops.loads_load_id_seq to lettertrail_loader;
grant select on ops.migrations, ops.table_status to lettertrail_loader;
-- The check of a run's sums looks at loads and pushes alike, whichever the run holds.
grant select on ops.sync_runs, ops.sync_records to lettertrail_loader;
grant select, insert on ops.inbox_loads to lettertrail_loader;

-- Both doors keep the rows that failed, and forget them after a while.
grant select, insert, update, delete on ops.failed_rows to lettertrail_loader, lettertrail_sync;

-- Rate limits count what reads and what writes together.
grant select, insert, update on ops.rates to lettertrail_loader, lettertrail_sync;

-- lettertrail_dbt: reads raw_*, owns its own schemas.
grant usage on schema raw_bitrix, raw_esp, raw_inbox to lettertrail_dbt;
grant select on all tables in schema raw_bitrix, raw_esp, raw_inbox to lettertrail_dbt;
-- Bodies hold tokens of their senders; what is in them reaches dbt as events.
revoke all on raw_inbox.deliveries from lettertrail_dbt;
-- Which opt-outs are our own doing: they are no evidence. What a service refused because the person left: that is.
grant usage on schema ops to lettertrail_dbt;
grant select on ops.acknowledged, ops.sync_runs, ops.sync_records to lettertrail_dbt;
-- Which changes of CRM cards were our own writing: they are no news.
grant select on ops.own_writes to lettertrail_dbt;
-- Who was drawn into which side of a segment's trial.
grant select on ops.holdouts to lettertrail_dbt;
-- Which loads it has not seen yet: their rows are what is new.
grant select on ops.loads to lettertrail_dbt;

-- lettertrail_sync: reads what is to be sent, keeps the sync ledger.
grant usage on schema marts, segments, ops to lettertrail_sync;
grant select on all tables in schema marts, segments to lettertrail_sync;
grant select on all tables in schema ops to lettertrail_sync;
-- A plan leaves out addresses an account does not have.
grant usage on schema raw_esp to lettertrail_sync;
grant select on raw_esp.contacts to lettertrail_sync;
-- Who has left since the marts were built is not mailed either.
grant select (email, event_type, bounce_kind, occurred_at, _loaded_at, _load_id, _deleted_at)
    on raw_esp.events to lettertrail_sync;
grant usage on schema raw_inbox to lettertrail_sync;
grant select (event_type, data, occurred_at, _loaded_at) on raw_inbox.site_events to lettertrail_sync;
grant select (email, wanted, chosen_at) on raw_inbox.choices to lettertrail_sync;
grant insert, update on ops.sync_runs, ops.sync_records to lettertrail_sync;
grant insert on ops.sync_calls, ops.holdouts, ops.quality_checks to lettertrail_sync;
grant insert, update, delete on ops.acknowledged, ops.segments to lettertrail_sync;
-- What tells a lost state, what people decided, and what the read-back found.
grant insert, update on ops.sync_states, ops.approvals to lettertrail_sync;
grant insert on ops.audits to lettertrail_sync;
grant execute on function ops.warehouse_id, ops.acknowledged_hash to lettertrail_sync;
grant insert, update on ops.own_writes, ops.follow_ups to lettertrail_sync;
-- The links that go into letters.
grant insert, update on ops.links to lettertrail_sync;

-- lettertrail_inbox: faces the internet, so it may hand deliveries in, and show and store the choices of whoever has a
-- link; it reads no table, not even what it wrote.
grant usage on schema raw_inbox to lettertrail_inbox;
grant execute on function raw_inbox.receive, raw_inbox.receive_mail, raw_inbox.read_preferences, raw_inbox.choose
    to lettertrail_inbox;

-- lettertrail_relay: sends what is in the outbox. It may ask whether one address must be left alone, and whether one letter is
-- known of; it sees no list of people.
grant usage on schema ops to lettertrail_relay;
grant select, update on ops.outbox to lettertrail_relay;
grant select, insert, update on ops.outbox_attempts, ops.rates to lettertrail_relay;
grant execute on function ops.mail_refusal, ops.letter_traces to lettertrail_relay;
-- Whole letters, with links that open accounts: not for those who read the rest of ops. What became of them is for the marts.
revoke all on ops.outbox from lettertrail_sync;
grant select (
    outbox_id, key, source, event_name, template_id, site_id, language, state, reason, attempts, queued_at, settled_at,
    esp_account, message_ref
) on ops.outbox to lettertrail_dbt;
grant select on ops.outbox_attempts to lettertrail_dbt;

-- lettertrail_eraser: finds a person in every table and changes what is there; nobody else may do both. It makes and drops
-- nothing, adds no rows but the proof and its load, and cannot change a proof.
grant usage on schema raw_bitrix, raw_esp, raw_inbox, ops, staging, intermediate, marts, segments to lettertrail_eraser;
grant select, update, delete
    on all tables in schema raw_bitrix, raw_esp, raw_inbox, ops, staging, intermediate, marts, segments
    to lettertrail_eraser;
revoke update, delete
    on ops.migrations, ops.erasures, ops.erased_identifiers, ops.erasure_checks from lettertrail_eraser;
grant insert on ops.loads, ops.erasures, ops.erased_identifiers, ops.erasure_checks to lettertrail_eraser;
grant usage on sequence ops.loads_load_id_seq to lettertrail_eraser;
grant execute on function ops.acknowledged_hash to lettertrail_eraser;
-- Whether there is anybody to be kept away; and what stands for the addresses of the erased, for the models.
grant select (erasure_id) on ops.erasures to lettertrail_loader;
revoke all on ops.erased_identifiers, ops.erasures, ops.erasure_checks from lettertrail_sync;
grant execute on function ops.erased_cards to lettertrail_sync;
grant select (erasure_id, kind, pseudonym, erased_at) on ops.erased_identifiers to lettertrail_dbt;

-- lettertrail_reader: dashboards and analysts.
grant usage on schema marts, segments to lettertrail_reader;
grant select on all tables in schema marts, segments to lettertrail_reader;

-- Tables that come later. The loader makes raw tables as the catalogue grows; dbt rebuilds its own at every run.
grant lettertrail_loader to current_user;
alter default privileges for role lettertrail_loader in schema raw_bitrix, raw_esp, raw_inbox
    grant select on tables to lettertrail_dbt;
alter default privileges in schema raw_bitrix, raw_esp, raw_inbox
    grant select on tables to lettertrail_dbt;
alter default privileges in schema raw_bitrix, raw_esp, raw_inbox
    grant select, insert, update, delete on tables to lettertrail_loader;
alter default privileges for role lettertrail_dbt in schema marts, segments
    grant select on tables to lettertrail_sync, lettertrail_reader;
alter default privileges for role lettertrail_loader in schema raw_bitrix, raw_esp, raw_inbox
    grant select, update, delete on tables to lettertrail_eraser;
alter default privileges in schema raw_bitrix, raw_esp, raw_inbox
    grant select, update, delete on tables to lettertrail_eraser;
alter default privileges for role lettertrail_dbt in schema staging, intermediate, marts, segments
    grant select, update, delete on tables to lettertrail_eraser;
