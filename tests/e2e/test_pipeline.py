"""The whole pipeline, for real: sample site and Mailchimp → Airflow → warehouse → marts → Mailchimp and Bitrix.

Run as a user runs it, once; then again until nothing changes, with the scheduler killed on the way. What came out is
compared with the site's and the service's own stores, not with what the pipeline says about itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.e2e.conftest import Demo, Run

from lettertrail.bitrix.catalog import load_catalog
from lettertrail.demo.airflow_api import DagRun
from lettertrail.demo.services import DAGS
from lettertrail.demo.summary import summary
from lettertrail.errors import RequestRejected
from lettertrail.report import MODEL_NAMES, compare_with_truth
from lettertrail.report.data import MODELS
from lettertrail.sandbox.world import generate

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1200),
    # The services outlive the object that started them, on purpose.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]

ADDRESS = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
LETTERS_IN_THE_SITE = """
    select
        concat('bitrix:', chain.ID),
        count(r.ID),
        sum(r.STATUS = 'N'),
        count(if(r.STATUS = 'N', opened.RECIPIENT_ID, null)),
        count(if(r.STATUS = 'N', clicked.RECIPIENT_ID, null)),
        count(if(r.STATUS = 'N', unsub.RECIPIENT_ID, null))
    from b_sender_mailing_chain chain
    join b_sender_posting p on p.MAILING_CHAIN_ID = chain.ID
    join b_sender_posting_recipient r on r.POSTING_ID = p.ID and r.STATUS in ('N', 'E')
    left join (select distinct RECIPIENT_ID from b_sender_posting_read) opened on opened.RECIPIENT_ID = r.ID
    left join (select distinct RECIPIENT_ID from b_sender_posting_click) clicked on clicked.RECIPIENT_ID = r.ID
    left join (select distinct RECIPIENT_ID from b_sender_posting_unsub) unsub on unsub.RECIPIENT_ID = r.ID
    where chain.MESSAGE_CODE = 'mail'
    group by chain.ID
"""
LETTERS_IN_THE_MART = """
    select letter_id, attempted_count, sent_count, opened_count, clicked_count, unsubscribed_count
    from marts.mart_letter_performance where source = 'bitrix'
"""
FIGURES = {
    "letters": "select * from marts.mart_letter_performance order by letter_id",
    "credits": "select * from marts.fct_attribution_credits order by credit_id",
    "suppressed": "select email, scope, state from marts.dim_suppression order by 1, 2",
    "people": "select person_id, primary_email from marts.dim_person order by person_id",
}
LATEST_INGEST = """
    select run_id from dag_run where dag_id = 'ingest_bitrix' and run_type = 'manual' order by run_after desc limit 1
"""
STRANGER_STATUS = "Q"
PUSHES = ("sync_suppressions", "sync_segments")
Figures = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Before:
    """What the site and Mailchimp held before the pipeline ran for the first time."""

    rows: dict[str, int]
    refusing: frozenset[str]
    """Ids of Mailchimp members that are unsubscribed or cleaned."""


def rows_in_the_site(demo: Demo) -> dict[str, int]:
    """Rows per table of the catalog; none for a table of a module that this site does not have."""
    there = {name.lower() for (name,) in demo.site("show tables")}
    return {
        entry.name: demo.site(f"select count(*) from {entry.name}")[0][0] if entry.name in there else 0
        for entry in load_catalog()
    }


def rows_in_raw(demo: Demo) -> dict[str, int]:
    """Rows per copied table that are not marked as gone."""
    return {
        entry.name: demo.warehouse(f"select count(*) from raw_bitrix.{entry.name} where _deleted_at is null")[0][0]
        for entry in load_catalog()
    }


def last_load_before(demo: Demo, moment: datetime) -> int:
    """The newest load that had ended by then."""
    return int(demo.warehouse("select max(load_id) from ops.loads where finished_at < %s", moment)[0][0])


def copied(demo: Demo, *, after: int = 0, until: int) -> dict[str, int]:
    """New rows per table in these loads, whichever run made them: at the full hour Airflow starts one by itself."""
    loads = (
        "select split_part(target, '.', 2), sum(inserted)::int from ops.loads "
        "where target like 'raw\\_bitrix.%%' and load_id > %s and load_id <= %s group by 1"
    )
    return dict(demo.warehouse(loads, after, until))


def ended(demo: Demo, run: DagRun) -> DagRun:
    """The run once it has ended."""
    wait_for(lambda: demo.api.run(run.dag_id, run.run_id).ended_at is not None, seconds=400, what=f"{run} goes on")
    return demo.api.run(run.dag_id, run.run_id)


def figures(demo: Demo) -> Figures:
    """What analysts read."""
    return {name: demo.warehouse(query) for name, query in FIGURES.items()}


def wait_for(holds: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Returns as soon as it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def before(demo: Demo) -> Before:
    """Counted before anything ran."""
    refusing = demo.mailchimp("select id from members where status in ('unsubscribed', 'cleaned')")
    return Before(rows_in_the_site(demo), frozenset(row[0] for row in refusing))


@pytest.fixture(scope="module")
def first(demo: Demo, before: Before) -> Run:
    """The first run of everything."""
    return demo.run()


@pytest.fixture(scope="module")
def figures_of_first(demo: Demo, first: Run) -> Figures:
    """What analysts read after the first run."""
    return figures(demo)


@pytest.fixture(scope="module")
def killed(demo: Demo, figures_of_first: Figures) -> Run:
    """A run that copies the site anew; the scheduler dies with its tasks in the middle of that and is started again."""
    forget_the_copy(demo)
    states = f"select state from task_instance where dag_id = 'ingest_bitrix' and run_id = ({LATEST_INGEST})"
    with ThreadPoolExecutor(max_workers=1) as aside:
        run = aside.submit(demo.run)
        wait_for(
            lambda: {("running",), ("success",)} <= set(demo.airflow_database(states)),
            seconds=240,
            what="ingest_bitrix did not get going",
        )
        demo.kill("scheduler")
        demo.services.start_airflow()
        return run.result()


def forget_the_copy(demo: Demo) -> None:
    """Empties raw_bitrix and what the ledger remembers of it."""
    tables = ", ".join(f"raw_bitrix.{entry.name}" for entry in load_catalog())
    demo.warehouse(f"truncate {tables}")
    demo.warehouse("delete from ops.cursors where target like 'raw\\_bitrix.%'")
    demo.warehouse("update ops.copies set outcome = 'abandoned', finished_at = now() where outcome is null")


@pytest.fixture(scope="module")
def quiet(demo: Demo, killed: Run) -> Run:
    """Runs until a run writes nothing; gives that one."""
    return demo.run() if killed.writes else killed


@pytest.fixture
def no_copy(demo: Demo, quiet: Run) -> Iterator[None]:
    """The warehouse holds what a test wrote there for as long as it wants: the hourly copy would mend it."""
    with demo.resting("ingest_bitrix"):
        yield


def test_every_leg_succeeds(first: Run) -> None:
    """All DAGs ran through the scheduler, started by each other's assets."""
    assert first.legs.keys() == DAGS
    assert {leg.state for leg in first.legs.values()} == {"success"}


def test_the_ledger_balances(demo: Demo, first: Run) -> None:
    """Every row read and every record planned has exactly one outcome, and the outcomes are what the tables hold."""
    assert demo.warehouse("select count(*) > 25 from ops.loads") == [(True,)]
    assert demo.warehouse("select * from ops.loads where read <> inserted + updated + unchanged + quarantined") == []
    assert demo.warehouse("select * from ops.sync_runs where finished_at is null or brake_reason is not null") == []
    sums = "applied + already_ok + rejected + retry_pending + held"
    assert demo.warehouse("select count(*) >= 3 from ops.sync_runs") == [(True,)]
    assert demo.warehouse(f"select * from ops.sync_runs where planned <> {sums}") == []
    recorded = """
        select s.sync_run_id from ops.sync_runs s left join ops.sync_records r using (sync_run_id)
        group by s.sync_run_id
        having s.planned <> count(r) or s.applied <> count(r) filter (where r.outcome = 'applied')
    """
    assert demo.warehouse(recorded) == []


def test_the_copy_is_the_source(demo: Demo, before: Before, first: Run) -> None:
    """As many rows in raw_bitrix and raw_esp as the site and Mailchimp had."""
    # What the push writes to the site comes back with the next hour's copy, which may begin before this run has ended.
    push_began = min(first.legs[dag].run_after for dag in PUSHES)
    assert copied(demo, until=last_load_before(demo, push_began)) == before.rows
    assert before.rows["b_sender_posting_recipient"] > 5000
    held = {
        table: demo.warehouse(f"select count(*) from raw_esp.{table} where esp = 'mailchimp'")[0][0]
        for table in ("campaigns", "contacts")
    }
    assert held["campaigns"] == demo.mailchimp("select count(*) from campaigns")[0][0] > 5
    assert held["contacts"] == demo.mailchimp("select count(*) from members")[0][0] > 100


def test_letters_are_counted_as_the_site_counts(demo: Demo, first: Run) -> None:
    """Attempted, sent, unique openers, clickers and leavers of each letter equal a query on the site's database."""
    wanted = {row[0]: tuple(int(number) for number in row[1:]) for row in demo.site(LETTERS_IN_THE_SITE)}
    found = {row[0]: row[1:] for row in demo.warehouse(LETTERS_IN_THE_MART)}
    assert len(wanted) == 70
    assert all(sum(column) > 0 for column in zip(*wanted.values(), strict=True))
    assert found == wanted


def test_conversions_are_those_of_the_crm(demo: Demo, first: Run) -> None:
    """One conversion per lead and per won deal, worth what the CRM says."""
    leads = demo.site("select count(*), sum(OPPORTUNITY_ACCOUNT) from b_crm_lead")[0]
    won = demo.site(
        "select count(*), sum(OPPORTUNITY_ACCOUNT) from b_crm_deal where STAGE_SEMANTIC_ID = 'S' and IS_RECURRING = 'N'"
    )[0]
    found = demo.warehouse(
        "select count(*)::int, sum(amount) from marts.fct_conversions"
        " where conversion_type in ('lead_created', 'deal_won') group by conversion_type"
    )
    assert set(found) == {leads, won}
    assert won[0] > 10


def test_credits_sum_to_one_and_to_the_amount(demo: Demo, first: Run) -> None:
    """Exactly, for every conversion and model; and some of it went to letters."""
    sums = """
        select conversions.conversion_id, models.model
        from marts.fct_conversions as conversions
        cross join (select distinct model from marts.fct_attribution_credits) as models
        left join marts.fct_attribution_credits as credits
            on credits.conversion_id = conversions.conversion_id and credits.model = models.model
        group by conversions.conversion_id, models.model, conversions.amount
        having sum(credits.credit) is distinct from 1
            or coalesce(sum(credits.amount), 0) <> coalesce(conversions.amount, 0)
    """
    assert demo.warehouse(sums) == []
    credited = "select count(*) > 10 from marts.fct_attribution_credits where letter_id is not null"
    assert demo.warehouse(credited) == [(True,)]


def test_the_closing_table_tells_all(demo: Demo, first: Run) -> None:
    """What `make demo` ends with: every model beside the truth, and every destination."""
    dsn = demo.services.warehouse_dsn()
    told = [f"{name} {value}" for name, value in summary(dsn, compare_with_truth(dsn, demo.layout.truth))]
    for name in MODELS:
        assert any(MODEL_NAMES[name] in line and "recovers" in line for line in told), name
    for account in ("bitrix24", "mailchimp"):
        assert any(line.startswith(f"at {account} ") for line in told), account


def test_nobody_suppressed_is_subscribed(demo: Demo, first: Run) -> None:
    """Mailchimp refuses every address of dim_suppression that it has, and some of them only since the push."""
    suppressed = {
        row[0] for row in demo.warehouse("select email from marts.dim_suppression where scope = 'everything'")
    }
    members = dict(demo.mailchimp("select lower(trim(email_address)), status from members"))
    both = suppressed & members.keys()
    assert len(both) > 10
    assert {members[address] for address in both} <= {"unsubscribed", "cleaned", "archived"}
    assert len(first.writes) > 0


def test_nobody_was_resubscribed(demo: Demo, before: Before, first: Run) -> None:
    """Whoever was unsubscribed or cleaned before the push still is."""
    refusing = demo.mailchimp("select id from members where status in ('unsubscribed', 'cleaned')")
    after = {row[0] for row in refusing}
    assert len(before.refusing) > 3
    assert before.refusing <= after
    assert before.refusing != after


def test_the_segment_is_at_mailchimp(demo: Demo, first: Run) -> None:
    """The tag holds exactly the segment's people that Mailchimp has and may mail."""
    tagged = demo.mailchimp(
        "select lower(trim(m.email_address)), m.status from segments s "
        "join segment_members sm on sm.segment_id = s.id join members m using (member) where s.name = 'inactive_90d'"
    )
    wanted = {row[0] for row in demo.warehouse("select email from segments.seg_inactive_90d")}
    wanted -= {row[0] for row in demo.warehouse("select email from marts.dim_suppression where scope = 'everything'")}
    subscribed = {row[0] for row in demo.mailchimp("select lower(trim(email_address)) from members")}
    assert len(tagged) > 10
    assert {status for _, status in tagged} == {"subscribed"}
    assert {address for address, _ in tagged} == wanted & subscribed


def test_the_crm_knows_who_must_not_be_written_to(demo: Demo, first: Run) -> None:
    """UF_CRM_EMAIL_MARKETING of the contact, in the site's own table."""
    forbidden = {
        row[0] for row in demo.warehouse("select contact_id from marts.dim_crm_contact where not is_marketing_allowed")
    }
    flags = dict(demo.site("select VALUE_ID, UF_CRM_EMAIL_MARKETING from b_uts_crm_contact"))
    assert len(forbidden) > 10
    assert {flags.get(contact) for contact in forbidden} == {0}
    assert {contact for contact, flag in flags.items() if flag == 0} == forbidden


def test_the_report_and_data_docs_are_written(demo: Demo, first: Run) -> None:
    """Both doors left their pages; the report names letters and nobody's address."""
    for door in ("raw_bitrix", "raw_esp", "segments"):
        assert (demo.layout.data_docs / door / "index.html").stat().st_size > 1000
    page = demo.layout.report.read_text(encoding="utf-8")
    assert page.count("<svg") > 2
    assert ADDRESS.findall(page) == []


def test_logs_hold_no_secret_and_no_address(demo: Demo, quiet: Run) -> None:
    """Neither the logs nor what Airflow's database keeps of the runs, after everything that happened here."""
    kept = {
        str(path.relative_to(demo.layout.root)): path.read_text(encoding="utf-8", errors="replace")
        for folder in (demo.layout.airflow / "logs", demo.layout.logs)
        for path in folder.rglob("*.log")
    }
    for table in ("xcom", "rendered_task_instance_fields", "log"):
        kept[table] = "\n".join(row[0] for row in demo.airflow_database(f"select t::text from {table} t"))
        assert kept[table]
    # A task killed as it began leaves an empty file.
    assert len([name for name, text in kept.items() if "task_id=" in name and text]) > 60
    assert list(secrets_in(kept, demo)) == []
    assert list(addresses_in(kept, demo)) == []


def secrets_in(kept: dict[str, str], demo: Demo) -> Iterator[tuple[str, str]]:
    """Where which secret turned up. Airflow's own audit log names the logins of connections, which are none."""
    logins = ("_login", "_client_id")
    hidden = {name: secret for name, secret in demo.config.secrets.items() if not name.endswith(logins)}
    assert len(hidden) > 15
    for where, text in kept.items():
        yield from ((where, name) for name, secret in hidden.items() if secret in text)


def addresses_in(kept: dict[str, str], demo: Demo) -> Iterator[tuple[str, str]]:
    """Where which address of the sample world turned up."""
    people = generate(seed=demo.config.seed, scale=demo.config.scale, as_of=demo.config.as_of).people
    known = {*people["email"].str.lower(), *people["former_email"].dropna().str.lower()}
    assert len(known) > 300
    for where, text in kept.items():
        yield from ((where, found) for found in ADDRESS.findall(text) if found.lower() in known)


def test_a_killed_scheduler_changes_nothing(
    demo: Demo, first: Run, figures_of_first: Figures, killed: Run, quiet: Run
) -> None:
    """Started again it finishes the run; everything is copied once, and the figures built on it are the same."""
    assert {leg.state for leg in killed.legs.values()} == {"success"}
    assert copied(demo, after=first.last_load, until=quiet.last_load) == rows_in_the_site(demo)
    now = figures(demo)
    for name in FIGURES:
        assert now[name] == figures_of_first[name], name


def test_the_last_run_writes_nothing(demo: Demo, quiet: Run) -> None:
    """Nothing changed, so nothing is sent, and the copy still is the source."""
    assert quiet.writes == []
    assert demo.warehouse(
        "select count(*) from ops.sync_calls join ops.sync_runs using (sync_run_id) where run_id = %s",
        quiet.legs["sync_suppressions"].label,
    ) == [(0,)]
    assert rows_in_raw(demo) == rows_in_the_site(demo)


@pytest.mark.usefixtures("no_copy")
def test_a_night_proves_the_copy(demo: Demo) -> None:
    """What SQL changed behind Bitrix' back, with no date to show it, is found and mended; a deleted row is marked."""
    ((edited, name), (deleted, _)) = demo.site("select ID, NAME from b_sender_contact order by ID limit 2")
    demo.change_site(
        f"create table kept_aside select * from b_sender_contact where ID = {deleted}",
        f"update b_sender_contact set NAME = 'Someone else' where ID = {edited}",
        f"delete from b_sender_contact where ID = {deleted}",
    )
    query = "select name, _deleted_at is not null from raw_bitrix.b_sender_contact where id in (%s, %s) order by id"
    tables = ["b_sender_contact", "b_crm_deal"]
    try:
        before = demo.warehouse(query, edited, deleted)
        with demo.awake("verify_bitrix"):
            run = ended(demo, demo.api.trigger("verify_bitrix", {"tables": tables}))
        after = demo.warehouse(query, edited, deleted)
    finally:
        demo.change_site(
            f"update b_sender_contact set NAME = {'null' if name is None else repr(name)} where ID = {edited}",
            "insert into b_sender_contact select * from kept_aside",
            "drop table kept_aside",
        )
    assert run.state == "success"
    assert {task.name for task in demo.api.tasks(run)} == {
        "choose_tables", "check_ledger", *(f"verify_table[{table}]" for table in tables),
    }  # fmt: skip
    assert [gone for _, gone in before] == [False, False]
    assert after[0] == ("Someone else", False)
    assert after[1][1] is True
    found = demo.warehouse(
        "select target, differing > 0, proven_at is not null from ops.verifications where run_id = %s order by 1",
        run.label,
    )
    assert found == [("raw_bitrix.b_crm_deal", False, True), ("raw_bitrix.b_sender_contact", True, True)]


@pytest.mark.usefixtures("no_copy")
def test_a_range_is_read_again_by_hand(demo: Demo) -> None:
    """The dry run leaves the warehouse alone, the real one mends the range; wrong params are refused at once."""
    query = "select title from raw_bitrix.b_crm_deal where id = 1"
    ((title,),) = demo.warehouse(query)
    demo.warehouse("update raw_bitrix.b_crm_deal set title = 'Not what the site says', _row_hash = 0 where id = 1")
    demo.api.unpause("reload_bitrix")
    asked = {"table": "b_crm_deal", "key_low": 1, "key_high": 10}
    dry = ended(demo, demo.api.trigger("reload_bitrix", asked))
    assert dry.state == "success"
    assert demo.warehouse(query) == [("Not what the site says",)]
    real = ended(demo, demo.api.trigger("reload_bitrix", {**asked, "dry_run": False}))
    assert real.state == "success"
    assert demo.warehouse(query) == [(title,)]
    loads = demo.warehouse("select sum(read)::int, sum(updated)::int from ops.loads where run_id = %s", real.label)
    assert loads == [(9, 1)]
    with pytest.raises(RequestRejected):
        demo.api.trigger("reload_bitrix", {**asked, "key_low": "from the beginning"})


@pytest.mark.usefixtures("no_copy")
def test_nothing_passes_a_closed_door(demo: Demo) -> None:
    """An impossible value in raw stops the build at once: no retry, no model, no push; the marts stay as they were."""
    wanted = figures(demo)
    table = "raw_bitrix.b_sender_posting_recipient"
    ((row, status),) = demo.warehouse(f"select id, status from {table} order by id limit 1")
    demo.warehouse(f"update {table} set status = %s where id = %s", STRANGER_STATUS, row)
    try:
        run = ended(demo, demo.api.trigger("build_marts"))
        states = {task.name: task.state for task in demo.api.tasks(run)}
    finally:
        demo.warehouse(f"update {table} set status = %s where id = %s", status, row)
    assert states.pop("keep_erased") == "success"
    assert states.pop("check_raw_bitrix") == "failed"
    assert states.pop("check_raw_esp") == "success"
    assert set(states.values()) == {"upstream_failed"}
    (folder,) = (demo.layout.airflow / "logs").rglob(f"run_id={run.run_id}")
    assert [path.name for path in Path(folder / "task_id=check_raw_bitrix").iterdir()] == ["attempt=1.log"]
    suites = demo.warehouse("select suite from ops.quality_checks where run_id = %s and not success", run.label)
    assert suites == [("raw_bitrix.b_sender_posting_recipient",)]
    assert figures(demo) == wanted


def test_a_webhook_reaches_the_other_services(demo: Demo, quiet: Run) -> None:
    """Who leaves at SendPulse has left Mailchimp long before the marts are built, though nobody started anything."""
    demo.services.start_inbox()
    mailable = {email for (email,) in demo.mailchimp("select email_address from members where status = 'subscribed'")}
    known = "select c.email from raw_esp.contacts c where c.esp = 'sendpulse' and c.status = 'subscribed' order by 1"
    leaving = next(email for (email,) in demo.warehouse(known) if email in mailable)
    row = {"timestamp": int(time.time()), "event": "unsubscribe", "email": leaving, "from_all": "1", "task_id": "4711"}
    port, token = demo.config.ports["inbox"], demo.config.secrets["sendpulse_webhook"]
    began = time.monotonic()
    answer = requests.post(f"http://127.0.0.1:{port}/sendpulse/marketing/{token}", json=[row], timeout=5)
    assert answer.status_code == 200
    left = f"select count(*) from members where email_address = '{leaving}' and status = 'unsubscribed'"
    found = "select state from marts.dim_suppression where email = %s and scope = 'everything'"
    while demo.mailchimp(left) != [(1,)]:
        assert time.monotonic() - began < 120
        time.sleep(1)
    assert demo.warehouse(found, leaving) == []
    while demo.warehouse(found, leaving) != [("unsubscribed",)]:
        assert time.monotonic() - began < 300
        time.sleep(1)
    assert demo.warehouse("select outcome from raw_inbox.deliveries") == [("applied",)]
