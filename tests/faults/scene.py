"""A source, its copy, and what a fault test does to both."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from tests.faults.checker import Report, Table, check
from tests.faults.loading import Action, Job, run
from tests.faults.servers import Servers
from tests.faults.tables import OPEN_POSTINGS, TABLES
from tests.faults.writer import Writer

from lettertrail.sandbox.mariadb import connect


@dataclass(frozen=True)
class Scene:
    """One source database and one warehouse on servers that may be killed."""

    servers: Servers
    source_dsn: str
    warehouse_dsn: str
    tables: tuple[Table, ...] = TABLES

    def job(self, action: Action, *tables: str, run_id: str = "run", broken: tuple[str, ...] = ()) -> Job:
        """A job for all tables of the scene, or for some."""
        names = tables or tuple(table.name for table in self.tables)
        return Job(action, self.source_dsn, self.warehouse_dsn, names, run_id, broken)

    def change(self, seed: int, *, events: int = 120, silent: bool = False) -> None:
        """Events of a shop, the same ones for the same seed."""
        writer = Writer(self.source_dsn, seed=seed, silent=silent)
        for _ in range(events):
            writer.step()
        writer.finish()
        assert writer.done.total() >= events

    def some_hours_pass(self, number: int = 1, *, keys_stay: bool = False) -> None:
        """A few hundred changes of every kind, hours apart and later than those of lower numbers.

        Spread like this they lie far outside the tails and overlaps, which would make up for a lost increment.

        Args:
            keys_stay: only updates. Every load compares the keys, and reads all around a key that came or went:
                that, too, makes up for a lost increment, and a test that wants to see one has to keep out of its way.
        """
        day = f"'2026-06-{number:02} 08:00:00'"
        updates = (
            f"update deals set stage = 'S{number}', date_modify = {day} + interval id minute where id % 5 = 1",
            f"update links set is_primary = '{number % 10}' where deal_id % 5 = 1",
            f"update recipients set status = 'Y', date_sent = {day} where posting_id = {OPEN_POSTINGS[0]}",
            f"update options set value = '{number}' where name like '%1'",
        )
        others = (
            f"delete links, deals from links join deals on deals.id = deal_id where deal_id % 100 = {2 + number}",
            "insert into deals (title, stage, opportunity, begun, date_modify)"
            f" select 'позже', 'NEW', seq / 8, null, {day} + interval seq minute from seq_1_to_200",
            "insert ignore into links select id, 1, 'Y' from deals where title = 'позже'",
            f"update recipients set is_read = '{number % 10}' where id <= 500 or id % 500 = 0",
            f"insert into opens (recipient_id, date_insert) select seq, {day} + interval seq minute from seq_1_to_500",
            f"insert into opens (recipient_id, date_insert) select id, {day} from recipients where id % 500 = 0",
            f"delete from recipients where id % 100 = {number}",
            "insert into recipients (posting_id, email, fields)"
            f" select {OPEN_POSTINGS[1]}, concat('later', seq, '@example.com'), '' from seq_1_to_700",
        )
        self._write(*(updates if keys_stay else (*updates, *others)))

    def grow_texts(self) -> None:
        """Some 24 MB of text that does not compress, in changed deals, so that an increment brings it."""
        text = ", ".join(f"md5(concat(id, {number}))" for number in range(1_000))
        self._write(
            f"update deals set comments = concat({text}), date_modify = '2026-07-01' + interval id minute"
            " where id <= 750"
        )

    def silent_edits(self) -> None:
        """Changes that no date, no event and no count of keys gives away."""
        self._write(
            "update deals set title = concat(title, '!') where id % 7 = 0 and id < 1400",
            "update recipients set status = 'E' where posting_id < 5 and id % 11 = 0 and id < 3000",
            "update opens set recipient_id = 1 where id % 13 = 0 and id < 1000",
            "update links set is_primary = '?' where deal_id % 17 = 0 and deal_id < 1400",
        )

    def _write(self, *statements: str) -> None:
        connection = connect(self.source_dsn)
        try:
            for statement in statements:
                connection.cursor().execute(statement)
            connection.commit()
        finally:
            connection.close()

    def check(self) -> Report:
        """What the independent checker says now."""
        return check(self.source_dsn, self.warehouse_dsn, self.tables)

    def recover(self, *, broken: tuple[str, ...] = ()) -> Report:
        """The next ordinary run, which has to end well, and what the checker says after it."""
        outcome = run(self.job("load", run_id="recovery", broken=broken))
        assert outcome.is_well, f"the next ordinary run ends with {outcome.error}"
        return self.check()

    def verify(self, run_id: str = "night") -> Report:
        """The nightly comparison, and what the checker says after it."""
        outcome = run(self.job("verify", run_id=run_id))
        assert outcome.is_well, f"verify ends with {outcome.error}"
        return self.check()

    def must_recover(self) -> None:
        """After the next ordinary run nothing is missing, and the nightly comparison finds nothing to do."""
        report = self.recover()
        assert report.is_clean, f"after the next ordinary run: {report}"
        self.must_be_proven()

    def must_be_proven(self) -> None:
        """The product's own comparison of all rows agrees with the checker's, and both find nothing."""
        report = self.verify("proof")
        assert report.is_clean, f"after verify: {report}"
        with psycopg.connect(self.warehouse_dsn) as warehouse:
            found = warehouse.execute(
                "select target from ops.verifications where run_id = 'proof' and method = 'rows' and is_whole"
                " and differing = 0 and differing_after = 0 and proven_at is not null order by target"
            ).fetchall()
        assert [name for (name,) in found] == sorted(f"raw_bitrix.{table.name}" for table in self.tables)

    def must_show_the_loss(self, *, broken: tuple[str, ...] = ()) -> None:
        """Without the protection the next ordinary run must not be enough: or the test would prove nothing.

        It may fail, as long as what it leaves behind is wrong: some mistakes the ledger's own sums give away.
        """
        run(self.job("load", run_id="recovery", broken=broken))
        assert not self.check().is_clean, "the protection is off, and the checker finds nothing"

    def gone(self) -> None:
        """Drops both databases: after a crash PostgreSQL looks at every file it has."""
        self.servers.drop(self.source_dsn, self.warehouse_dsn)


def fresh(servers: Servers, *tables: str) -> Scene:
    """A filled source and an empty warehouse."""
    return Scene(servers, servers.fresh_source(), servers.fresh_warehouse(), _chosen(tables))


def copied(servers: Servers, template: str, *tables: str) -> Scene:
    """A filled source and its copy, taken from a template database: the same as after a first copy."""
    return Scene(servers, servers.fresh_source(), servers.cloned_warehouse(template), _chosen(tables))


def _chosen(names: tuple[str, ...]) -> tuple[Table, ...]:
    return tuple(table for table in TABLES if not names or table.name in names)
