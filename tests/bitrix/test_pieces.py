"""Large reads in short statements: nothing twice, nothing left out, and never too much at once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.source_site import NOW, EntryMaker, PgSite, Site

from lettertrail.bitrix import sql
from lettertrail.bitrix.catalog import Trigger
from lettertrail.bitrix.pieces import MOST_RANGES, Pace, Pieces
from lettertrail.bitrix.port import Bounds, Digest, KeyRange


def test_a_range_is_cut_where_it_becomes_too_wide() -> None:
    """The open ends stay open: rows beyond the bounds may have come since."""
    pieces = Pieces([KeyRange()], Bounds(1, 10))
    assert pieces.take(4) == [KeyRange(None, 5)]
    assert pieces.take(100) == [KeyRange(5, None)]
    assert not pieces


def test_small_ranges_go_together() -> None:
    """As many as fit, in one statement."""
    pieces = Pieces([KeyRange(0, 5), KeyRange(10, 15), KeyRange(20, 40)], Bounds(0, 100))
    assert pieces.take(12) == [KeyRange(0, 5), KeyRange(10, 15), KeyRange(20, 22)]
    pieces.put_back([KeyRange(10, 15), KeyRange(20, 22)])
    assert pieces.take(6) == [KeyRange(10, 15), KeyRange(20, 21)]
    many = Pieces([KeyRange(number, number + 1) for number in range(2 * MOST_RANGES)], Bounds(0, 5000))
    assert len(many.take(10**6)) == MOST_RANGES


def test_what_is_empty_is_skipped() -> None:
    """Up to the next key there is; ranges below it are gone, one it lies in begins there."""
    pieces = Pieces([KeyRange(0, 5), KeyRange(10, 1000), KeyRange(2000, None)], Bounds(0, 5000))
    pieces.skip_to(500)
    assert pieces.take(10**6) == [KeyRange(500, 1000), KeyRange(2000, None)]
    pieces.put_back([KeyRange(2000, None)])
    pieces.skip_to(None)
    assert not pieces


RANGES = st.lists(st.integers(-50, 50), min_size=2, max_size=8, unique=True).map(
    lambda cuts: [KeyRange(low, high) for low, high in list(pairwise(sorted(cuts)))[::2]]
)


@given(ranges=RANGES, widths=st.lists(st.integers(1, 40), min_size=1), opens=st.tuples(st.booleans(), st.booleans()))
def test_pieces_are_the_ranges(ranges: list[KeyRange], widths: list[int], opens: tuple[bool, bool]) -> None:
    """Whatever the widths, every key that is in a range is in one piece, and no other is."""
    if opens[0]:
        ranges[0] = KeyRange(None, ranges[0].high)
    if opens[1]:
        ranges[-1] = KeyRange(ranges[-1].low, None)
    pieces = Pieces(ranges, Bounds(-30, 30))
    found: list[KeyRange] = []
    while pieces:
        found += pieces.take(widths[len(found) % len(widths)])
    for key in range(-60, 61):
        assert sum(holds(piece, key) for piece in found) == any(holds(wanted, key) for wanted in ranges)
    assert (found[0].low is None, found[-1].high is None) == opens


def holds(key_range: KeyRange, key: int) -> bool:
    """Whether a key is in a range."""
    return (key_range.low is None or key_range.low <= key) and (key_range.high is None or key < key_range.high)


def test_the_pace_follows_what_statements_took() -> None:
    """Slower at once, faster by and by."""
    pace = Pace(1000)
    pace.follow(0.5, 0.1)
    assert pace.width == 2000
    pace.follow(0.0)
    assert pace.width == 8000
    pace.follow(4.0)
    assert pace.width == 2000
    pace.slow_down()
    assert pace.width == 125
    pace.follow(1e9)
    assert pace.width == 7


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read by ConnectorX, in small pieces."""
    monkeypatch.setattr(sql, "FIRST_KEYS", 10)
    monkeypatch.setattr(sql, "PIECE_ROWS", 50)
    monkeypatch.setattr(sql, "MOST_ROWS", 100)
    seen: list[str] = []
    from lettertrail.bitrix import sessions  # noqa: PLC0415

    real = sessions._read

    def read(dsn: str, statement: str, settings: list[str]) -> pa.Table:
        seen.append(statement)
        return real(dsn, statement, settings)

    monkeypatch.setattr(sessions, "_read", read)
    return seen


def ids(batches: Any) -> list[int]:
    """The ids in batches, in their order."""
    return [number for batch in batches for number in batch.column("id").to_pylist()]


def test_a_table_with_gaps_and_crowds_is_read_once(site: Site, entry: EntryMaker, statements: list[str]) -> None:
    """Sparse, then crowded a billion keys later, then nothing: every row once, and never many at a time."""
    site.run(
        "create table t (id int primary key)",
        "insert into t select seq * 1000 from seq_1_to_30",
        "insert into t select 1000000000 + seq from seq_1_to_700",
        "insert into t values (-5), (2147483647)",
    )
    table = entry("t")
    rows = site.source.read_ranges(table, site.source.columns(table), [KeyRange()])
    sizes: list[int] = []
    found: list[int] = []
    for batch in rows:
        sizes.append(batch.num_rows)
        found += batch.column("id").to_pylist()
    assert sorted(found) == [number for (number,) in site.rows("select id from t order by id")]
    assert max(sizes) <= 100
    assert len(statements) < 80


@pytest.mark.parametrize("server", ["site", "pg_site"])
def test_large_rows_are_read_few_at_a_time(
    request: pytest.FixtureRequest, server: str, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand letters with their pictures would be a gigabyte."""
    monkeypatch.setattr(sql, "PIECE_BYTES", 2**20)
    one: Site = request.getfixturevalue(server)
    kind, series = ("longtext", "seq_1_to_64") if server == "site" else ("text", "generate_series(1, 64) as seq")
    one.run(
        f"create table t (id int primary key, at timestamp, body {kind})",
        "create index on_at on t (at)",
        f"insert into t select seq, '2026-10-01', repeat('x', 100000) from {series}",
        "alter table t alter body set storage external" if server == "pg_site" else "do 0",
    )
    if server == "pg_site":
        one.run("update t set body = body || 'x'")
        with psycopg.connect(one.dsn, autocommit=True) as connection:
            connection.execute("vacuum full analyze t")
    else:
        one.rows("analyze table t")
    table = entry("t", "modified", cursor="at")
    columns = one.source.columns(table)
    for rows in (
        one.source.read_ranges(table, columns, [KeyRange()]),
        one.source.read_changes(table, columns, {"cursor": None}, now=NOW),
    ):
        sizes = [(batch.num_rows, batch.nbytes) for batch in rows]
        assert sum(rows for rows, _ in sizes) == 64
        assert max(size for _, size in sizes) < 4 * 2**20


def test_many_rows_of_one_key_are_read_at_once(site: Site, entry: EntryMaker, statements: list[str]) -> None:
    """A key range cannot be narrower than one key."""
    site.run(
        "create table t (owner_id int, id int, primary key (owner_id, id))",
        "insert into t select 7, seq from seq_1_to_500",
        "insert into t select 8, seq from seq_501_to_510",
    )
    table = entry("t", key=("owner_id", "id"), range_by="owner_id")
    assert sorted(ids(site.source.read_ranges(table, site.source.columns(table), [KeyRange()]))) == list(range(1, 511))


def test_a_column_without_an_index_is_not_cut_by(site: Site, entry: EntryMaker, statements: list[str]) -> None:
    """Each piece would be a scan of the whole table."""
    site.run(
        "create table t (id int, a int)",
        "insert into t select seq, seq from seq_1_to_500",
        "insert into t values (null, 1)",
    )
    table = entry("t")
    assert len(ids(site.source.read_ranges(table, site.source.columns(table), [KeyRange()]))) == 501
    assert len(statements) == 1


def test_a_change_of_everything_is_cut_like_a_table(site: Site, entry: EntryMaker, statements: list[str]) -> None:
    """A few changed rows are one statement; many are read in pieces, each once, whatever rules found them."""
    site.run(
        "create table deals (id int primary key, date_modify datetime, key (date_modify))",
        "insert into deals select seq, '2026-10-01' from seq_1_to_400",
        "create table events (id int primary key, deal_id int)",
        "insert into events values (1, 5), (2, 17), (3, 5)",
    )
    touched = Trigger("events", "deal_id", "id", new_by="id", tail=0)
    deals = entry("deals", "touched_by", cursor="date_modify", touched_by=(touched,))
    columns = site.source.columns(deals)
    few = {"cursor": "2026-10-20 00:00:00.000000", "events.id": 0}
    assert sorted(ids(site.source.read_changes(deals, columns, few, now=NOW))) == [5, 17]
    assert len(statements) == 1
    many = {"cursor": "2026-09-01 00:00:00.000000", "events.id": 0}
    assert sorted(ids(site.source.read_changes(deals, columns, many, now=NOW))) == list(range(1, 401))
    assert len(statements) > 5


@pytest.mark.parametrize("whole_rows", [True, False])
def test_digests_do_not_depend_on_how_they_are_cut(
    site: Site, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch, whole_rows: bool
) -> None:
    """One statement, many statements, and the sums of parts agree; NULL is in no slice."""
    site.run(
        "create table t (id int, a varchar(9), key (id))",
        "insert into t select cast(seq as signed) - 300, seq from seq_1_to_1000",
        "insert into t values (null, 'x')",
    )
    table = entry("t")
    columns = site.source.columns(table)

    def digests(*ranges: KeyRange) -> dict[int, Digest]:
        return site.source.digests(table, columns, ranges, width=70, whole_rows=whole_rows)

    whole = digests(KeyRange())
    assert sum(digest.rows for digest in whole.values()) == 1000
    assert set(whole) == set(range(-4, 11))
    monkeypatch.setattr(sql, "DIGEST_KEYS", 33)
    monkeypatch.setattr(sql, "DIGEST_SECONDS", 1e-9)
    assert digests(KeyRange()) == whole
    low, high = digests(KeyRange(None, 111)), digests(KeyRange(111, 300), KeyRange(300, None))
    added = {
        number: Digest(
            *(
                getattr(low.get(number, Digest(0, 0)), part) + getattr(high.get(number, Digest(0, 0)), part)
                for part in ("rows", "total")
            )
        )
        for number in low.keys() | high.keys()
    }
    assert added == whole


def test_both_servers_sum_keys_alike(site: Site, pg_site: PgSite, entry: EntryMaker) -> None:
    """What the warehouse computes must be what the source does: whole keys by squares, texts by MD5."""
    for one in (site, pg_site):
        one.run(
            "create table t (a int not null, b bigint not null, c varchar(20) not null, primary key (a, b, c))",
            "insert into t values (-7, -4611686018427387904, 'Жук'), (2147483647, 5, '')",
            "insert into t values (500, 9223372036854775807, 'b')",
        )
    for key in (("a",), ("a", "b"), ("b", "a"), ("a", "c"), ("c",)):
        table = entry("t", key=key, range_by="a")
        theirs, ours = (
            one.source.digests(table, one.source.columns(table), [KeyRange()], width=500, whole_rows=False)
            for one in (site, pg_site)
        )
        assert theirs == ours
        assert {digest.rows for digest in theirs.values()} == {1}
    by_b = entry("t", key=("b",), range_by="a")
    digests = site.source.digests(by_b, site.source.columns(by_b), [KeyRange()], width=500, whole_rows=False)
    assert digests[1].total == (9223372036854775807 % (2**31 - 1)) ** 2


def test_two_ids_that_move_towards_each_other_are_seen(site: Site, entry: EntryMaker) -> None:
    """Count and plain sum stay the same."""
    site.run("create table t (id int primary key)", "insert into t select seq from seq_1000_to_1100")
    table = entry("t")

    def total() -> int:
        (digest,) = site.source.digests(
            table, site.source.columns(table), [KeyRange()], width=5000, whole_rows=False
        ).values()
        return digest.total

    site.run("delete from t where id in (1010, 1050)")
    before = total()
    site.run("update t set id = 1010 where id = 1011", "update t set id = 1050 where id = 1049")
    assert total() != before
