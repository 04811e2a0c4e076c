"""Paging by offset while the rows move: nobody is missed, nobody comes twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.scripted_server import Reply, ScriptedServer, Seen

from lettertrail.errors import ContractError
from lettertrail.http import OffsetPaging, RestClient


def client(server: ScriptedServer) -> RestClient:
    return RestClient(server.url, service="letterbox", allowed_hosts=[server.host])


class MovingList:
    """Rows by offset; something may happen to them before each page."""

    def __init__(self, rows: list[int], *, changes: dict[int, Callable[[list[int]], None]], total: bool = True) -> None:
        self.rows = rows
        self.changes = changes
        self.total = total
        self.asked: list[int] = []

    def __call__(self, seen: Seen) -> Reply:
        if change := self.changes.get(len(self.asked)):
            change(self.rows)
        count, offset = int(seen.one("count") or 0), int(seen.one("offset") or 0)
        self.asked.append(offset)
        page = [{"id": row} for row in self.rows[offset : offset + count]]
        return Reply({"rows": page} | ({"total_items": len(self.rows)} if self.total else {}))


def read_all(pages: MovingList, **how: int) -> list[int]:
    with ScriptedServer(pages) as server:
        rows = client(server).pages("/rows", rows="rows", key=lambda row: row["id"], paging=OffsetPaging(**how))
        return [row["id"] for row in rows]


@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize("overlap", [0, 1, 3, 50])
@pytest.mark.parametrize("size", [1, 10, 24, 25, 26])
def test_reads_to_the_end_whatever_the_page_size(size: int, overlap: int, total: bool) -> None:
    """Every row once and in order, with or without a total."""
    assert read_all(MovingList(list(range(25)), changes={}, total=total), size=size, overlap=overlap) == list(range(25))


def test_an_empty_list_is_one_call() -> None:
    """No rows, no second question."""
    pages = MovingList([], changes={})
    assert read_all(pages, size=10) == []
    assert pages.asked == [0]


def test_full_pages_cost_no_more_calls_than_needed() -> None:
    """A total saves the empty page at the end."""
    pages = MovingList(list(range(20)), changes={})
    read_all(pages, size=10, overlap=0)
    assert pages.asked == [0, 10]


def test_rows_that_leave_the_read_part_do_not_hide_others() -> None:
    """Two members changed while we paged: they move to the end, the rest moves left, and nobody is missed."""

    def touch(rows: list[int]) -> None:
        rows.extend([rows.pop(0), rows.pop(0)])

    read = read_all(MovingList(list(range(30)), changes={1: touch, 2: touch}), size=10, overlap=3)
    assert sorted(read) == list(range(30))


def test_steps_back_when_more_rows_moved_than_overlap() -> None:
    """A page that does not begin with a known row leaves a gap; the pager goes back until there is none."""

    def cut(rows: list[int]) -> None:
        del rows[:8]

    pages = MovingList(list(range(40)), changes={2: cut})
    assert read_all(pages, size=10, overlap=2) == list(range(40))


def test_steps_back_when_the_list_shrank_below_the_offset() -> None:
    """An empty page in the middle is not the end: what is left may be further to the left."""

    def cut(rows: list[int]) -> None:
        del rows[:18]

    assert read_all(MovingList(list(range(30)), changes={2: cut}), size=10, overlap=2) == list(range(30))


def test_rows_that_come_in_between_are_not_given_twice() -> None:
    """New rows at the front push known ones to the next page."""

    def insert(rows: list[int]) -> None:
        rows[:0] = [100, 101, 102]

    read = read_all(MovingList(list(range(25)), changes={1: insert}), size=10, overlap=2)
    assert sorted(read) == list(range(25))


@pytest.mark.parametrize("body", [{"members": []}, {"rows": None}, [], {"rows": [{"no": 1}]}])
def test_an_answer_without_the_rows_is_a_broken_contract(body: Any) -> None:
    """Rather a loud stop than an empty list."""
    with ScriptedServer([Reply(body)]) as server, pytest.raises(ContractError, match="letterbox"):
        list(client(server).pages("/rows", rows="rows", key=lambda row: row["id"]))
