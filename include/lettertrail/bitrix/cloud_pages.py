"""Reads the lists of a portal, page by page, up to fifty pages to a request.

Keyset paging (bitrix.md 6.2): ordered by id, above the last id seen, not counted. Rows that appear or vanish meanwhile
cannot shift the others over a page's edge, as they would with offsets. The pages of one request refer to each other
(`$result[p0][items][49][id]`); what comes after the first short page is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from lettertrail.bitrix.cloud_auth import SERVICE
from lettertrail.bitrix.cloud_client import BATCH, OUT_OF_TIME, RESETS, Batch, CloudClient, Command, Reply
from lettertrail.bitrix.cloud_feeds import Feed
from lettertrail.bitrix.port import KeyRange
from lettertrail.errors import ApiError, ContractError, RateLimited

PAGE = 50
IDS = 50
"""Ids named in one command; one page holds them all."""
OWNERS = 20
"""Owners named in one command: each may have several rows."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a list stands: highest id, latest change (ISO with offset, as REST wrote it)."""

    highest: int | None
    latest: str | None


class Pages:
    """The lists of one portal."""

    def __init__(self, client: CloudClient) -> None:
        self._client = client

    def all_rows(self, feed: Feed) -> Iterator[Row]:
        """The rows of a dictionary, by offset."""
        start: int | None = 0
        while start is not None:
            method, params = feed.command({}, start=start)
            reply = self._client.call(method, params)
            yield from _rows(feed, reply)
            start = reply.next if reply.next is None or reply.next > start else None

    def probe(self, feed: Feed, filters: Mapping[str, Any]) -> None:
        """Asks for a first page, only to see whether the list is given.

        Raises:
            RequestRejected: it is not; the code says why.
        """
        method, params = feed.command(filters, only_ids=True)
        self._client.call(method, params)

    def count(self, feed: Feed) -> int:
        """How many rows the list has now."""
        method, params = feed.command({}, start=0, only_ids=True)
        return self._client.call(method, params).total or 0

    def marks(self, feed: Feed, *, horizon: datetime) -> Marks:
        """Where the list stands; a change later than the horizon is a mistyped year and does not count."""
        commands = {"id": feed.command({}, descending=feed.key, only_ids=True)}
        if feed.changed is not None:
            until = {f"<={feed.changed}": horizon.isoformat(timespec="seconds")}
            commands["changed"] = feed.command(until, descending=feed.changed, only_ids=True)
        done = self._sure(commands)
        newest = _rows(feed, done["id"])
        latest = _rows(feed, done["changed"]) if "changed" in done else []
        changed = str(latest[0].get(feed.changed or "") or "") if latest else ""
        return Marks(_id(feed, newest[0]) if newest else None, changed or None)

    def lowest(self, feed: Feed) -> int | None:
        """The lowest id of the list."""
        method, params = feed.command({}, only_ids=True)
        found = _rows(feed, self._client.call(method, params))
        return _id(feed, found[0]) if found else None

    def ranges(self, feed: Feed, ranges: Sequence[KeyRange], *, only_ids: bool = False) -> Iterator[Row]:
        """All rows whose id is in one of the ranges (disjoint, ascending), in order of id."""
        few = ranges if len(ranges) > 1 else []
        for start in range(0, len(few), BATCH):
            # The first page of fifty ranges at once; most ranges that are read again hold no more than that.
            part = few[start : start + BATCH]
            commands = {
                f"r{number}": feed.command(_between(feed, key_range, None), start=-1, only_ids=only_ids)
                for number, key_range in enumerate(part)
            }
            done = self._sure(commands)
            for number, key_range in enumerate(part):
                first = _rows(feed, done[f"r{number}"])
                yield from first
                if len(first) == PAGE:
                    yield from self._keyset(feed, key_range, {}, after=_id(feed, first[-1]), only_ids=only_ids)
        if not few:
            for key_range in ranges:
                yield from self._keyset(feed, key_range, {}, only_ids=only_ids)

    def changed(self, feed: Feed, since: str | None, above: int | None) -> Iterator[Row]:
        """Rows changed at `since` (ISO) or later, and rows with an id above; each once."""
        seen: set[int] = set()
        if feed.changed is not None and since is not None:
            for row in self._keyset(feed, KeyRange(), {f">={feed.changed}": since}):
                if above is None or _id(feed, row) > above:
                    seen.add(_id(feed, row))
                yield row
        low = None if above is None else above + 1
        for row in self._keyset(feed, KeyRange(low, None), {}):
            if _id(feed, row) not in seen:
                yield row

    def by_id(self, feed: Feed, ids: Sequence[int]) -> Iterator[Row]:
        """The rows with these ids, as far as they are there and may be seen."""
        yield from self._named(feed, f"@{feed.key}", ids, IDS)

    def by_owner(self, feed: Feed, owners: Sequence[int]) -> Iterator[Row]:
        """The rows that belong to these rows of the feed it follows."""
        yield from self._named(feed, feed.owner, owners, OWNERS)

    def item_errors(self, feed: Feed, ids: Sequence[int]) -> dict[int, ApiError]:
        """Why single cards cannot be read, by id; those that can are left out."""
        errors: dict[int, ApiError] = {}
        for start in range(0, len(ids), BATCH):
            commands = {
                f"i{card}": ("crm.item.get", {"entityTypeId": feed.type_id, "id": card})
                for card in ids[start : start + BATCH]
            }
            batch = self._client.batch(commands)
            errors |= {int(key[1:]): error for key, error in batch.errors.items()}
        return errors

    def _named(self, feed: Feed, condition: str, ids: Sequence[int], size: int) -> Iterator[Row]:
        chunks = [list(ids[start : start + size]) for start in range(0, len(ids), size)]
        at = 0
        while at < len(chunks):
            depth = self._client.reach(feed.method, len(chunks) - at)
            part = chunks[at : at + min(depth, BATCH)]
            commands = {f"n{number}": feed.command({condition: chunk}) for number, chunk in enumerate(part)}
            done = self._sure(commands)
            for number, chunk in enumerate(part):
                first = _rows(feed, done[f"n{number}"])
                yield from first
                if len(first) == PAGE:
                    yield from self._keyset(feed, KeyRange(), {condition: chunk}, after=_id(feed, first[-1]))
            at += len(part)

    def _keyset(
        self,
        feed: Feed,
        key_range: KeyRange,
        filters: Mapping[str, Any],
        *,
        after: int | None = None,
        only_ids: bool = False,
    ) -> Iterator[Row]:
        if after is None:
            first = self._client.call(*_first(feed, key_range, filters, only_ids=only_ids))
            rows = _rows(feed, first)
            yield from rows
            if len(rows) < PAGE:
                return
            after, wanted = _id(feed, rows[-1]), _pages(first.total)
        else:
            wanted = 1
        stalls = 0
        while stalls < RESETS:
            depth = min(self._client.reach(feed.method, wanted), BATCH)
            stalls += 1
            for page in self._chain(feed, key_range, filters, after, depth, only_ids=only_ids):
                yield from page
                if len(page) < PAGE:
                    return
                after, wanted, stalls = _id(feed, page[-1]), wanted - 1, 0
            # Rows that came meanwhile need more pages than were counted.
            wanted = max(1, wanted)
        raise RateLimited(SERVICE, f"{feed.method} got no run time for too long", code=OUT_OF_TIME)

    def _chain(
        self, feed: Feed, key_range: KeyRange, filters: Mapping[str, Any], after: int, depth: int, *, only_ids: bool
    ) -> Iterator[list[Row]]:
        """Up to `depth` pages after an id, each command going on where the one before it ends."""
        path = f"[{feed.rows}]" if feed.rows else ""
        commands: dict[str, Command] = {}
        for number in range(depth):
            last: Any = f"$result[p{number - 1}]{path}[{PAGE - 1}][{feed.key}]" if number else after
            conditions = {**filters, **_between(feed, key_range, last)}
            commands[f"p{number}"] = feed.command(conditions, start=-1, only_ids=only_ids)
        batch = self._client.batch(commands)
        for key in commands:
            if key in batch.errors:
                if key == "p0" and batch.errors[key].code != OUT_OF_TIME:
                    raise batch.errors[key]
                # It refers to a page that is short or failed; what is left is asked for again.
                return
            page = _rows(feed, batch.replies[key])
            ids = [_id(feed, row) for row in page]
            if page and (ids[0] <= after or any(one >= other for one, other in pairwise(ids))):
                if key == "p0":
                    raise ContractError(f"bitrix: {feed.method} does not keep to its filter and order by {feed.key}")
                return
            yield page
            if len(page) < PAGE:
                return
            after = ids[-1]

    def _sure(self, commands: Mapping[str, Command]) -> Mapping[str, Reply]:
        """The replies of a batch none of whose commands may fail."""
        batch: Batch = self._client.batch(commands)
        for error in batch.errors.values():
            raise error
        return batch.replies


def _first(
    feed: Feed, key_range: KeyRange, filters: Mapping[str, Any], *, only_ids: bool
) -> tuple[str, dict[str, Any]]:
    """The first page, counted: how many pages to ask for at once."""
    return feed.command({**filters, **_between(feed, key_range, None)}, start=0, only_ids=only_ids)


def _between(feed: Feed, key_range: KeyRange, after: Any) -> dict[str, Any]:
    conditions: dict[str, Any] = {}
    low = after if after is not None else None if key_range.low is None else key_range.low - 1
    if low is not None:
        conditions[f">{feed.key}"] = low
    if key_range.high is not None:
        conditions[f"<{feed.key}"] = key_range.high
    return conditions


def _pages(total: int | None) -> int:
    """Pages after the first one; the last of them is short, or empty when the count is a multiple of fifty."""
    return BATCH if total is None else max(1, total // PAGE)


def _rows(feed: Feed, reply: Reply) -> list[Row]:
    result = reply.result.get(feed.rows) if feed.rows and isinstance(reply.result, Mapping) else reply.result
    if not isinstance(result, list):
        raise ContractError(f"bitrix: the answer to {feed.method} has no list of rows")
    return result


def _id(feed: Feed, row: Row) -> int:
    try:
        return int(row[feed.key])
    except (KeyError, TypeError, ValueError):
        raise ContractError(f"bitrix: a row of {feed.method} has no id in {feed.key}") from None


def earlier(moment: str, minutes: int) -> str:
    """A REST time so many minutes before."""
    return (datetime.fromisoformat(moment) - timedelta(minutes=minutes)).isoformat(timespec="seconds")
