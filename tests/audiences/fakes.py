"""A warehouse with the marts the plan reads, and a destination that can refuse, lose answers and die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row
from tests.push_ledger import Killed, PushLedger

from lettertrail.audiences.plan import FLAGGED, SUPPRESSIONS
from lettertrail.audiences.push import SyncResult, sync_segment, sync_suppressions
from lettertrail.audiences.segments import Segment
from lettertrail.errors import TemporaryApiError
from lettertrail.esps.port import Call, Evidence, Outcome, Record

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

MARTS = """
create schema if not exists marts;
create schema if not exists segments;
create table marts.dim_suppression (
    email text, person_id text, scope text, state text, source text, evidence text, evidenced_at timestamptz
);
create table marts.dim_crm_contact (
    contact_id bigint, preferred_email text, person_id text, is_marketing_allowed boolean, suppression_state text
);
create table marts.mart_crm_lead_fields (lead_id bigint, is_marketing_allowed boolean, suppression_state text);
create table segments.seg_lapsed (email text, person_id text);
"""


LEDGER = ("sync_runs", "sync_records", "sync_calls", "acknowledged", "sync_states")


class FakeDestination:
    """Keeps sets of keys; `faults` are taken one per call, before (`lose`: after) the work is done."""

    def __init__(self, name: str = "mailchimp", *, batch_faults: Iterable[str] = ()) -> None:
        self.name = name
        self.account = name
        self.sends_attributes = True
        self.contacts: set[str] = set()
        self.refusing: set[str] = set()
        self.evidence: Evidence | None = None
        self.marked: set[str] = set()
        self.audiences: dict[str, set[str]] = {}
        self.attributes: dict[str, Any] = {}
        self.faults = list(batch_faults)
        self.writes: Counter[str] = Counter()
        self.ever_added: set[str] = set()
        self._calls: list[Call] = []

    def suppressed(self) -> Iterator[str]:
        return iter(sorted(self.marked))

    def members(self, audience: str) -> Iterator[str]:
        return iter(sorted(self.audiences.get(audience, set())))

    def suppress(self, records: Sequence[Record]) -> Iterator[Outcome]:
        return self._write("suppress", records, self.marked, present=True)

    def add_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        self.ever_added |= {record.key for record in records}
        self.attributes |= {record.key: record.attributes for record in records}
        return self._write("add", records, self.audiences.setdefault(audience, set()), present=True)

    def remove_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        return self._write("remove", records, self.audiences.setdefault(audience, set()), present=False)

    def calls(self) -> list[Call]:
        drained, self._calls = self._calls, []
        return drained

    def _write(self, action: str, records: Sequence[Record], keys: set[str], *, present: bool) -> Iterator[Outcome]:
        self.writes[action] += 1
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "down":
            self._calls.append(Call("POST", f"/{action}", 503, 0))
            raise TemporaryApiError(self.name, "down", status=503)
        outcomes = [self._apply(record.key, keys, present=present) for record in records]
        if fault == "die":
            raise Killed
        self._calls.append(Call("POST", f"/{action}", None if fault == "lose" else 200, len(records)))
        if fault == "lose":
            raise TemporaryApiError(self.name, "time-out")
        if fault == "forget":
            outcomes.pop()
        yield from outcomes

    def _apply(self, key: str, keys: set[str], *, present: bool) -> Outcome:
        if key in self.refusing:
            return Outcome(key, "rejected", "compliance", self.evidence)
        if (key in keys) == present:
            return Outcome(key, "already_ok")
        (keys.add if present else keys.discard)(key)
        return Outcome(key, "applied")


class FakeCrm(FakeDestination):
    """A CRM: its mark can be taken back."""

    def __init__(self, **options: Any) -> None:
        super().__init__("bitrix", **options)

    def release(self, records: Sequence[Record]) -> Iterator[Outcome]:
        return self._write("release", records, self.marked, present=False)


class Warehouse(PushLedger):
    """The marts as the tests want them, and the ledger as the tests read it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.sync_dsn = dsn
        self._connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.now = NOON
        self.segment = Segment("seg_lapsed", "segments.seg_lapsed", "lapsed", ("mailchimp",))
        self.execute(MARTS)
        self.build()

    def close(self) -> None:
        """Lets go of the database, so that it can be dropped."""
        self._connection.close()

    def execute(self, statement: str, values: Any = None) -> None:
        self._connection.execute(statement, values)

    def query(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        return self._connection.execute(statement, values).fetchall()

    def build(self) -> None:
        """Marks the marts as built now."""
        self.execute("delete from ops.segments")
        self.execute("insert into ops.segments values ('seg_lapsed', 'segments.seg_lapsed', '{}', %s)", [self.now])

    def later(self, **delta: float) -> None:
        """Moves the clock and builds the marts again."""
        self.now += timedelta(**delta)
        self.build()

    def suppress(self, *emails: str, state: str = "unsubscribed") -> None:
        for email in emails:
            self.execute(
                "insert into marts.dim_suppression values (%s, %s, 'everything', %s, 'test', 'test', %s)",
                [email, f"p:{email}", state, self.now],
            )

    def contact(self, *emails: str, status: str = "subscribed", account: str = "mailchimp") -> None:
        """The account's contacts as the last load saw them."""
        for email in emails:
            self.execute(
                """
                insert into raw_esp.contacts
                    (esp, account, external_id, list_id, email, status, payload, _row_hash, _loaded_at, _load_id)
                values ('mailchimp', %s, 'list:' || md5(%s), 'list', %s, %s, '{}', 0, %s, 1)
                on conflict (esp, account, external_id)
                do update set status = excluded.status, _loaded_at = excluded._loaded_at
                """,
                [account, email, email, status, self.now],
            )

    def crm(self, **allowed: bool) -> None:
        """CRM contacts by id (`c7=True`) and whether they may be mailed."""
        self.cards(SUPPRESSIONS, **allowed)

    def cards(self, audience: str, **allowed: bool) -> None:
        """The same for the cards whose flags are that audience."""
        (schema, table), key = FLAGGED[audience]
        self.execute(f"truncate {schema}.{table}")
        for name, is_allowed in allowed.items():
            self.execute(
                f"insert into {schema}.{table} ({key}, is_marketing_allowed, suppression_state) values (%s, %s, %s)",
                [int(name[1:]), is_allowed, None if is_allowed else "unsubscribed"],
            )

    def fill_segment(self, *emails: str) -> None:
        self.execute("truncate segments.seg_lapsed")
        for email in emails:
            self.execute("insert into segments.seg_lapsed values (%s, %s)", [email, f"p:{email}"])

    def fill_all(self, emails: Sequence[str]) -> None:
        """The same for many, at once."""
        self.execute("truncate segments.seg_lapsed")
        self.execute(
            "insert into segments.seg_lapsed select email, 'p:' || email from unnest(%s::text[]) as email", [emails]
        )

    def reset(self) -> None:
        """An empty ledger and empty marts, built now."""
        self.execute("alter table if exists marts.dim_gone rename to dim_suppression")
        self.execute(
            "truncate ops.acknowledged, ops.sync_states, ops.sync_calls, ops.sync_records, ops.sync_runs,"
            " ops.approvals, ops.audits, ops.copies, raw_esp.contacts, marts.dim_suppression, marts.dim_crm_contact,"
            " marts.mart_crm_lead_fields, segments.seg_lapsed cascade"
        )
        self.now = NOON
        self.build()

    def save(self) -> None:
        """Keeps the ledger of pushes as it is now, for `restore`: a backup."""
        for table in LEDGER:
            self.execute(f"drop table if exists public.{table}; create table public.{table} as table ops.{table}")

    def restore(self) -> None:
        """Sets the ledger of pushes back, as a restored backup does."""
        self.execute(f"truncate {', '.join(f'ops.{table}' for table in LEDGER)} cascade")
        for table in LEDGER:
            self.execute(f"insert into ops.{table} table public.{table}; drop table public.{table}")
        self.execute("select setval('ops.sync_runs_sync_run_id_seq', (select max(sync_run_id) from ops.sync_runs))")

    def sync_suppressions(self, destination: Any, **options: Any) -> SyncResult:
        options = {"dry_run": False, **options}
        return sync_suppressions(destination, self.sync_dsn, run_id="run", clock=lambda: self.now, **options)

    def sync_segment(self, destination: Any, **options: Any) -> SyncResult:
        options = {"dry_run": False, **options}
        return sync_segment(self.segment, destination, self.sync_dsn, run_id="run", clock=lambda: self.now, **options)

    def outcomes(self, sync_run_id: int) -> dict[str, tuple[str, str, str]]:
        rows = self.query(
            "select record_key, action, outcome, reason from ops.sync_records where sync_run_id = %s", [sync_run_id]
        )
        return {row["record_key"]: (row["action"], row["outcome"], row["reason"]) for row in rows}
