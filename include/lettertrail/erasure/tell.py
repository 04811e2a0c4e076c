"""Telling others to forget somebody: services delete, sites stop writing, cards in Bitrix are emptied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lettertrail.erasure.keys import ErasureKey, is_pseudonym
from lettertrail.erasure.person import Person
from lettertrail.esps.port import Outcome, Record

PORTAL = "bitrix"
"""The name of the portal among the answers."""


class Sender(Protocol):
    """Whatever can be told not to write to somebody: an e-mail service, the sender module of a site."""

    @property
    def account(self) -> str: ...

    def suppress(self, records: Sequence[Record]) -> Iterable[Outcome]: ...


class Service(Sender, Protocol):
    """What erasing needs of an account at an e-mail service."""

    def erase(self, records: Sequence[Record]) -> Iterable[Outcome]: ...


class Portal(Protocol):
    """What erasing needs of Bitrix."""

    def erase_cards(self, entity: str, cards: Sequence[int], stand_in: Callable[[str, str], str]) -> Counter[str]: ...


@dataclass(frozen=True, slots=True)
class Others:
    """Whom erasing speaks to before it forgets whom it is about."""

    services: Sequence[Service] = ()
    sites: Sequence[Sender] = ()
    """Nothing can be deleted there, so the address is put on the list of those who are not written to."""
    portal: Portal | None = None
    """None where Bitrix is not to be written to."""


def tell(others: Others, key: ErasureKey, person: Person) -> dict[str, Counter[str]]:
    """Account -> outcomes. Who cannot be deleted at a service is at least not written to."""
    records = [Record(str(number), email) for number, email in enumerate(person.emails)]
    answers: dict[str, Counter[str]] = {}
    for service in others.services:
        outcomes = list(service.erase(records)) if records else []
        refused = {outcome.key for outcome in outcomes if outcome.status == "rejected"}
        answers[service.account] = Counter(str(outcome.status) for outcome in outcomes)
        answers[service.account] += suppress(service, [record for record in records if record.key in refused])
    for site in others.sites:
        answers[site.account] = suppress(site, records)
    if others.portal is not None:
        answers[PORTAL] = _tell_portal(others.portal, key, person)
    return answers


def suppress(sender: Sender, records: Sequence[Record]) -> Counter[str]:
    """Outcomes, each with `suppress` before it but for those that are not certain."""
    statuses = [outcome.status for outcome in sender.suppress(records)] if records else []
    return Counter(status if status == "retry_pending" else f"suppress {status}" for status in statuses)


def _tell_portal(portal: Portal, key: ErasureKey, person: Person) -> Counter[str]:
    def stand_in(kind: str, value: str) -> str:
        if is_pseudonym(value):
            return value
        return key.email(value) if kind == "EMAIL" else key.phone(value)

    answers: Counter[str] = Counter()
    for entity in ("contact", "lead"):
        answers += portal.erase_cards(entity, person.cards[entity], stand_in)
    return answers
