"""Offline events: what the portal noted for us since we last asked, taken without loss.

`event.offline.get` with `clear` 0 hands a packet out and hides it from others; it stays until `event.offline.clear`, up
to 30 days (documentation of offline events). So: take, read the cards, commit, clear. A process that dies in between
leaves the packet behind with its process id; the next one finds it in `event.offline.list` and handles it again, which
changes nothing. Needs an application, an administrator's token and a plan with the feature `rest_offline_extended`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lettertrail.bitrix.cloud_client import CloudClient
from lettertrail.bitrix.cloud_feeds import Feed
from lettertrail.errors import ApiError, ContractError

log = logging.getLogger(__name__)

VERBS = ("ADD", "UPDATE", "DELETE")
LIMIT = 50
MAX_PACKETS = 200
"""Of one kind at once: ten thousand events. The rest waits for the next run."""


@dataclass(frozen=True, slots=True)
class OfflineEvent:
    """Something happened to a card."""

    message: str
    process: str
    card: int | None
    """None when the portal did not say: the change times have to tell."""
    is_delete: bool


class OfflineEvents:
    """The events of one portal, as far as this process has taken them."""

    def __init__(self, client: CloudClient) -> None:
        self._client = client
        self._taken: dict[str, list[OfflineEvent]] = {}
        self._failed: dict[str, set[str]] = {}
        self._is_offered: bool | None = None

    def take(self, feed: Feed) -> list[OfflineEvent]:
        """The events of a kind of card: those left behind by a process that died, and new ones.

        Without the feature, or when the portal refuses, there are none: change times and ids find everything too.
        """
        if not feed.event:
            return []
        try:
            if self._offered():
                self._bind(feed)
                events = [*self._left_behind(feed), *self._new(feed)]
                self._taken.setdefault(feed.name, []).extend(events)
                log.info("bitrix %s offline events taken=%s", feed.event, len(events))
                return events
        except ApiError as error:
            log.warning("offline events are not to be had, going by change times: %s", error)
            self._is_offered = False
        return []

    def known(self, feed: Feed) -> list[OfflineEvent]:
        """The events of a kind of card that were taken and not yet cleared."""
        return self._taken.get(feed.name, [])

    def failed(self, feed: Feed, cards: Mapping[int, ApiError]) -> None:
        """Notes cards that could not be read: their events are marked as errors instead of cleared."""
        messages = {event.message for event in self.known(feed) if event.card in cards}
        self._failed.setdefault(feed.name, set()).update(messages)
        for card, error in cards.items():
            log.warning("bitrix %s %s cannot be read: %s", feed.name, card, error)

    def clear(self, feed: Feed) -> None:
        """Tells the portal that the events taken are handled. Call it after the commit.

        Raises:
            ApiError: it could not be told; the events come again.
        """
        events = self._taken.pop(feed.name, [])
        failed = self._failed.pop(feed.name, set())
        for process in dict.fromkeys(event.process for event in events):
            mine = [event.message for event in events if event.process == process]
            bad = [message for message in mine if message in failed]
            params: dict[str, Any] = {"process_id": process}
            if bad:
                self._client.call("event.offline.error", {**params, "message_id": bad}, write=True)
                params["message_id"] = [message for message in mine if message not in failed]
                if not params["message_id"]:
                    continue
            self._client.call("event.offline.clear", params, write=True)
        if events:
            log.info("bitrix %s offline events cleared=%s errors=%s", feed.event, len(events), len(failed))

    def _offered(self) -> bool:
        if self._is_offered is None:
            answer = self._client.call("feature.get", {"CODE": "rest_offline_extended"}).result
            value = answer.get("value") if isinstance(answer, Mapping) else answer
            self._is_offered = value in ("Y", True)
        return self._is_offered

    def _bind(self, feed: Feed) -> None:
        """Asks for the events that were not asked for yet; those bound before stay."""
        bound = self._client.call("event.get").result
        mine = {str(row.get("event", "")).upper() for row in bound if str(row.get("offline", 0)) in ("1", "True")}
        for verb in VERBS:
            name = f"ON{feed.event}{verb}"
            if name not in mine:
                self._client.call("event.bind", {"event": name, "event_type": "offline"}, write=True)
                log.info("bitrix bound the offline event %s", name)

    def _left_behind(self, feed: Feed) -> Iterator[OfflineEvent]:
        names = {f"ON{feed.event}{verb}" for verb in VERBS}
        start: int | None = 0
        while start is not None:
            reply = self._client.call(
                "event.offline.list",
                {"filter": {"!=PROCESS_ID": "", "=ERROR": 0}, "order": {"ID": "ASC"}, "start": start},
            )
            for row in _listed(reply.result, "event.offline.list"):
                if row.get("PROCESS_ID") and row.get("EVENT_NAME") in names and str(row.get("ERROR", "0")) == "0":
                    yield _event(row, str(row["PROCESS_ID"]))
            start = reply.next

    def _new(self, feed: Feed) -> Iterator[OfflineEvent]:
        for verb in VERBS:
            for _ in range(MAX_PACKETS):
                params = {
                    "filter": {"=EVENT_NAME": f"ON{feed.event}{verb}"},
                    "order": {"ID": "ASC"},
                    "limit": LIMIT,
                    "clear": 0,
                    "error": 0,
                }
                # Not a write: asked again after a lost answer, it finds the first packet among those left behind.
                packet = self._client.call("event.offline.get", params).result
                if not isinstance(packet, Mapping):
                    raise ContractError("bitrix: the answer to event.offline.get is no packet")
                rows = _listed(packet.get("events"), "event.offline.get")
                yield from (_event(row, str(packet.get("process_id") or "")) for row in rows)
                if len(rows) < LIMIT:
                    break


def _listed(rows: Any, method: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(rows, list):
        raise ContractError(f"bitrix: the answer to {method} has no list of events")
    return rows


def _event(row: Mapping[str, Any], process: str) -> OfflineEvent:
    data = row.get("EVENT_DATA")
    fields = data.get("FIELDS") if isinstance(data, Mapping) else None
    number = str(fields.get("ID", "")) if isinstance(fields, Mapping) else ""
    return OfflineEvent(
        message=str(row["MESSAGE_ID"]),
        process=process,
        card=int(number) if number.isascii() and number.isdigit() else None,
        is_delete=str(row["EVENT_NAME"]).endswith("DELETE"),
    )
