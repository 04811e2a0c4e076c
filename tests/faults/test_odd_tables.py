"""Tables at the edges: of the key, of the types, of the clock. After every step the checker compares all rows."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.faults.checker import Table, check
from tests.source_site import EntryMaker, Site

from lettertrail.clock import fixed_clock
from lettertrail.errors import ContractError, SourceError
from lettertrail.warehouse import deliver
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.reload import reload_table
from lettertrail.warehouse.verify import verify_table

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@dataclass
class Copying:
    """A table of a site that is copied, changed and compared."""

    site: Site
    dsn: str
    entry: Any
    now: datetime = NOW
    runs: int = field(default=0)

    def load(self, *, range_rows: int = 3, **options: Any) -> None:
        self.runs += 1
        load_table(
            self.site.source, self.entry, self.dsn,
            run_id=f"run {self.runs}", clock=fixed_clock(self.now), chunk_rows=range_rows, **options,
        )  # fmt: skip

    def verify(self) -> Any:
        return verify_table(self.site.source, self.entry, self.dsn, run_id="night", clock=fixed_clock(self.now))

    def reload(self) -> None:
        reload_table(
            self.site.source, self.entry, self.dsn,
            run_id="again", clock=fixed_clock(self.now), dry_run=False, range_rows=3,
        )  # fmt: skip

    def must_be_right(self, *, but_deletes: bool = False) -> None:
        """Args: but_deletes: where keys lie far apart, some wait for the nightly comparison."""
        report = check(self.site.dsn, self.dsn, [Table(self.entry.name, self.entry.key)])
        if but_deletes:
            report.tables[self.entry.name].undeleted = 0
        assert report.is_clean, str(report)

    def must_stay_right(self, *changes: str) -> None:
        """Through a copy, changes, an increment, a verification and a reload."""
        self.load()
        self.must_be_right()
        self.site.run(*changes)
        self.load()
        self.must_be_right(but_deletes=True)
        assert self.verify().is_proven
        self.reload()
        self.must_be_right()
        assert self.verify().differing == 0
        self.load()
        self.must_be_right()


KEYS = {
    "negative, zero and positive": ("bigint", [-5, -1, 0, 1, 2, 7]),
    "the ends of bigint": ("bigint", [-(2**63), -(2**63) + 1, -1, 0, 1, 2**63 - 2, 2**63 - 1]),
    "unsigned bigint": ("bigint unsigned", [0, 1, 2, 2**62, 2**63 - 2, 2**63 - 1]),
    "unsigned int at its end": ("int unsigned", [0, 1, 4294967294, 4294967295]),
    "one row": ("int", [1]),
    "far apart": ("int", [1, 2, 2_000_000_000, 2_147_483_647]),
    "dense": ("int", list(range(1, 41))),
}


@pytest.mark.parametrize(("strategy", "is_direct"), [("full", True), ("append", False)])
@pytest.mark.parametrize("case", KEYS)
def test_keys_at_the_edges(
    site: Site,
    warehouse_dsn: str,
    entry: EntryMaker,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    strategy: str,
    *,
    is_direct: bool,
) -> None:
    """Ranges, slices and watermarks hold at both ends of the type, at zero and across gaps.

    A first copy goes straight into the raw table, or past a landing table.
    """
    if not is_direct:
        monkeypatch.setattr(deliver, "_is_direct", lambda *_: False)
    kind, keys = KEYS[case]
    site.run(f"create table edge (id {kind} primary key, word varchar(20))")
    site.run(
        "set sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", f"insert into edge values {', '.join(f'({k}, {k})' for k in keys)}"
    )
    copying = Copying(site, warehouse_dsn, entry("edge", strategy, tail=50 if strategy == "append" else None))
    copying.must_stay_right(
        f"update edge set word = 'changed' where id = {keys[-1]}",
        f"delete from edge where id = {keys[len(keys) // 2]}",
    )


def test_keys_beyond_any_signed_number(site: Site, warehouse_dsn: str, entry: EntryMaker) -> None:
    """They cannot be cut into ranges, which is said; read whole they are copied like others."""
    site.run(
        "create table edge (id bigint unsigned primary key, word varchar(20))",
        f"insert into edge values (1, 'a'), ({2**63 - 1}, 'b'), ({2**63}, 'c'), ({2**64 - 2}, 'd'), ({2**64 - 1}, 'e')",
    )
    with pytest.raises(ContractError, match="beyond 2\\^63"):
        Copying(site, warehouse_dsn, entry("edge")).load()
    for strategy in ("full", "append"):
        tail = 2 if strategy == "append" else None
        copying = Copying(site, warehouse_dsn, entry("edge", strategy, range_by=None, tail=tail))
        copying.must_stay_right(
            f"update edge set word = concat(word, 'x') where id = {2**64 - 1}",
            f"delete from edge where word = '{'a' if tail else 'd'}'",
        )


def test_a_table_that_becomes_empty_and_full_again(site: Site, warehouse_dsn: str, entry: EntryMaker) -> None:
    """Truncated between loads, with its ids given out again."""
    site.run("create table edge (id int primary key auto_increment, word varchar(20))")
    copying = Copying(site, warehouse_dsn, entry("edge", "append", tail=50))
    copying.load()
    copying.must_be_right()
    site.run("insert into edge (word) select concat('first ', seq) from seq_1_to_20")
    copying.load()
    copying.must_be_right()
    site.run("truncate edge")
    copying.load()
    copying.must_be_right()
    site.run("insert into edge (word) select concat('second ', seq) from seq_1_to_9")
    copying.load()
    copying.must_be_right()
    copying.must_stay_right("insert into edge (word) values ('more')")


@pytest.mark.parametrize("stage", ["planned", "committed"])
def test_a_table_that_is_truncated_while_it_is_copied(
    site: Site, warehouse_dsn: str, entry: EntryMaker, stage: str
) -> None:
    """And filled again with lower ids: auto_increment begins anew, below the watermark of the copy."""
    site.run(
        "create table edge (id int primary key auto_increment, word varchar(20))",
        "insert into edge (word) select concat('first ', seq) from seq_1_to_20",
    )
    copying = Copying(site, warehouse_dsn, entry("edge", "append", tail=2))
    done: list[str] = []

    def on_stage(name: str) -> None:
        if name == stage and not done:
            done.append(name)
            site.run("truncate edge", "insert into edge (word) select concat('second ', seq) from seq_1_to_5")

    copying.load(on_stage=on_stage)
    copying.load()
    copying.verify()
    copying.must_be_right()


@pytest.mark.parametrize(
    "change",
    [
        "add colour varchar(10) default 'red'",
        "drop column word",
        "modify word varchar(5)",
        "modify word text character set utf8mb4",
        "change word name varchar(20)",
        "modify id bigint unsigned not null auto_increment",
    ],
)
def test_columns_that_change_while_a_table_is_copied(
    site: Site, warehouse_dsn: str, entry: EntryMaker, change: str
) -> None:
    """Between two ranges: the load fails or ends well, and the next one copies what there is now."""
    site.run(
        "create table edge (id int primary key auto_increment, word varchar(20))",
        "insert into edge (word) select concat('w', seq) from seq_1_to_20",
    )
    copying = Copying(site, warehouse_dsn, entry("edge", "append", tail=2))
    done: list[str] = []

    def on_stage(name: str) -> None:
        if name == "committed" and not done:
            done.append(name)
            site.run(f"alter table edge {change}")

    with contextlib.suppress(SourceError, ContractError):
        copying.load(on_stage=on_stage)
    assert done
    copying.load()
    copying.must_be_right()
    assert copying.verify().proven_at


def test_a_range_column_with_nulls(site: Site, warehouse_dsn: str, entry: EntryMaker) -> None:
    """Rows without a value for it belong to the first range, in the copy and in the comparison."""
    site.run(
        "create table edge (code varchar(20) primary key, owner_id int, word varchar(20))",
        "insert into edge select concat('c', seq), if(seq % 3, cast(seq as signed) - 5, null), 'x' from seq_1_to_30",
    )
    copying = Copying(site, warehouse_dsn, entry("edge", key=("code",), range_by="owner_id"))
    copying.must_stay_right(
        "update edge set owner_id = null where code = 'c7'",
        "update edge set owner_id = 100 where code = 'c3'",
        "delete from edge where code in ('c6', 'c8')",
        "insert into edge values ('new', null, ''), ('other', -99, null)",
    )


def test_only_nulls_in_the_range_column(site: Site, warehouse_dsn: str, entry: EntryMaker) -> None:
    """It then has no bounds at all."""
    site.run(
        "create table edge (code varchar(20) primary key, owner_id int, word varchar(20))",
        "insert into edge select concat('c', seq), null, 'x' from seq_1_to_7",
    )
    copying = Copying(site, warehouse_dsn, entry("edge", key=("code",), range_by="owner_id"))
    copying.must_stay_right("delete from edge where code = 'c2'", "insert into edge values ('new', 5, '')")


def test_very_wide_rows(site: Site, warehouse_dsn: str, entry: EntryMaker) -> None:
    """Two hundred and fifty columns, and texts of several megabytes."""
    columns = ", ".join(f"c{number} varchar(5)" for number in range(250))
    site.run(
        f"create table edge (id int primary key, {columns}, body longtext)",
        "insert into edge (id, c0, c249, body) select seq, 'a', 'ю', repeat(char(64 + seq), seq * 500000)"
        " from seq_1_to_6",
    )
    copying = Copying(site, warehouse_dsn, entry("edge", "append", tail=2))
    copying.must_stay_right("update edge set body = concat(body, 'ы') where id = 6", "delete from edge where id = 2")


def test_ids_that_are_given_to_other_rows(site: Site, warehouse_dsn: str, entry: EntryMaker) -> None:
    """Rows swap their keys, one moves to a new key, one comes back under its old one."""
    site.run(
        "create table edge (id int primary key, word varchar(20), at datetime, key (at))",
        "insert into edge select seq, concat('w', seq), '2026-01-01' + interval seq day from seq_1_to_20",
    )
    copying = Copying(site, warehouse_dsn, entry("edge", "modified", cursor="at"))
    copying.must_stay_right(
        "update edge set word = if(id = 3, 'w4', 'w3'), at = '2026-11-20' where id in (3, 4)",
        "update edge set id = 77, at = '2026-11-20' where id = 5",
        "delete from edge where id = 6",
    )
    site.run("insert into edge values (6, 'again', '2026-01-07')")
    copying.load()
    copying.must_be_right()


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(hours=-1), timedelta(hours=2), timedelta(days=400)])
def test_our_clock_jumps(site: Site, warehouse_dsn: str, entry: EntryMaker, jump: timedelta) -> None:
    """A load with a wrong clock, then one with the right one: nothing stays unread."""
    site.run(
        "create table edge (id int primary key, word varchar(20), at datetime, key (at))",
        "insert into edge select seq, concat('w', seq), '2026-11-21 10:00:00' + interval seq minute from seq_1_to_90",
    )
    copying = Copying(site, warehouse_dsn, entry("edge", "modified", cursor="at", overlap_minutes=10))
    copying.load()
    copying.must_be_right()
    copying.now = NOW + jump
    site.run("update edge set word = 'one', at = '2026-11-21 12:10:00' where id = 3")
    copying.load()
    copying.now = NOW + timedelta(minutes=30)
    site.run("update edge set word = 'two', at = '2026-11-21 12:20:00' where id = 4")
    copying.load()
    copying.must_be_right()


def test_the_shop_s_clock_is_set_back(site: Site, warehouse_dsn: str, entry: EntryMaker) -> None:
    """An hour repeats in autumn: what changes in it the second time is older than the watermark, within the overlap."""
    site.run(
        "create table edge (id int primary key, word varchar(20), at datetime, key (at))",
        "insert into edge select seq, concat('w', seq), '2026-10-25 02:00:00' + interval seq minute from seq_1_to_59",
    )
    copying = Copying(site, warehouse_dsn, entry("edge", "modified", cursor="at"))
    copying.load()
    site.run("update edge set word = 'again', at = '2026-10-25 02:01:00' where id = 40")
    copying.load()
    copying.must_be_right()


@pytest.mark.parametrize("collation", ["utf8mb4_unicode_ci", "utf8mb4_bin"])
def test_text_keys(site: Site, warehouse_dsn: str, entry: EntryMaker, collation: str) -> None:
    """Emptiness, blanks, quotes, backslashes, tabs and other alphabets in a key."""
    words = ["", "a", "Б", "x\\\\ny", "t\\tab", "quo''te", 'do"uble', "😀", "\\\\N", "%s {0}", "\\n"]
    site.run(
        f"create table edge (code varchar(50) collate {collation} primary key, word varchar(20))",
        f"insert into edge values {', '.join(f'''('{word}', 'x')''' for word in words)}",
    )
    copying = Copying(site, warehouse_dsn, entry("edge", key=("code",), range_by=None))
    copying.must_stay_right("delete from edge where code in ('a', '')", "update edge set word = 'y' where code = 'Б'")
