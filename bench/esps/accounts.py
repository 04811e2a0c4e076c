"""An account at each sandbox twin, with its real limits, behind a storm that can be switched on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import requests
from starlette.types import ASGIApp
from tests.contract import esputnik_service, mailchimp_service, sendpulse_service, unisender_service
from tests.sandbox.small import small_world

from bench.esps.storm import Storm
from lettertrail.clock import system_clock
from lettertrail.esps import load
from lettertrail.esps.port import AccountConnection, Esp
from lettertrail.sandbox.esps import esputnik, mailchimp, sendpulse, unisender
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.server import served

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Twin:
    """How one service is set up: its store, its app, its harness, and what a connection to it says."""

    store: Callable[..., Any]
    seed: Callable[..., Any]
    create: Callable[..., Any]
    is_write: Callable[[str, str, Any], bool]
    harness: Callable[..., Any]
    secrets: Mapping[str, str]
    options: Mapping[str, object]


def _twin(
    room: ModuleType, store: str, seed: str, harness: Callable[..., Any], secrets: Mapping[str, str], **options: object
) -> Twin:
    return Twin(
        getattr(room, store), getattr(room, seed), room.create_app, room.asks_for_change, harness, secrets, options
    )


TWINS = {
    "mailchimp": _twin(
        mailchimp, "MailchimpStore", "seed_mailchimp", mailchimp_service.MailchimpService,
        {"api_key": mailchimp_service.KEY},
    ),
    "sendpulse": _twin(
        sendpulse, "SendPulseStore", "seed_sendpulse", sendpulse_service.SendPulseService,
        {"client_id": sendpulse_service.CLIENT, "client_secret": sendpulse_service.SECRET}, list_id=sendpulse.BOOK,
    ),
    "unisender": _twin(
        unisender, "UnisenderStore", "seed_unisender", unisender_service.UnisenderService,
        {"api_key": unisender_service.KEY},
    ),
    "esputnik": _twin(
        esputnik, "EsputnikStore", "seed_esputnik", esputnik_service.EsputnikService,
        {"login": esputnik_service.LOGIN, "api_key": esputnik_service.KEY},
    ),
}  # fmt: skip


@dataclass(slots=True)
class Account:
    """A running one."""

    name: str
    base: str
    twin: Twin
    storm: Storm
    service: Any
    """The harness of the contract tests: `enrol`, `leave`, `status_of`, `writes`, `lines`."""

    def connect(self, **options: object) -> Esp:
        """The adapter as production has it, pace and waits included."""
        secrets = list(self.twin.secrets.values())
        login = secrets[0] if len(secrets) > 1 else None
        extra = {**self.twin.options, **options}
        connection = AccountConnection(self.name, self.base, login=login, password=secrets[-1], extra=extra)
        return load(self.name).connect(
            connection, clock=system_clock, allowed_hosts=[self.base.removeprefix("http://").partition("/")[0]]
        )

    def hurried(self, **options: object) -> Esp:
        """The adapter that waits for nothing."""
        esp: Esp = self.service.adapter(**{**self.twin.options, **options})
        return esp

    def violations(self) -> int:
        """How often the service had to refuse because of its limits."""
        answer = requests.get(f"{self.base}/_sandbox/limits", timeout=10)
        return int(answer.json()["violations"]) if answer.ok else 0


@contextmanager
def account(name: str, directory: Path, *, is_limited: bool, seed: int = 1) -> Iterator[Account]:
    """Starts one.

    Args:
        is_limited: with the service's own rate limits; without, nothing is refused in calm weather.
    """
    twin, clock = TWINS[name], SimpleNamespace(now=NOW)
    with ExitStack() as stack:
        store = twin.store(":memory:", clock=(system_clock if is_limited else lambda: clock.now))
        stack.callback(store.close)
        twin.seed(small_world(), store)
        app = twin.create(store, **twin.secrets, **({} if is_limited else _without_limits(name)))
        stack.callback(app.close)
        journal = directory / f"{name}.jsonl"
        journal.unlink(missing_ok=True)
        whole: ASGIApp = Journaled(app, Journal(journal), service=name, is_write=twin.is_write, mask=lambda path: path)
        storm = Storm(whole, seed)
        base = stack.enter_context(served(storm))
        yield Account(name, base, twin, storm, twin.harness(base, store, journal, clock))


def _without_limits(name: str) -> Mapping[str, Any]:
    """Mailchimp's twin has none but for connections; UniSender's forgets at once when its clock runs."""
    hours = itertools.count(step=3_600)
    return {"mailchimp": {}, "unisender": {"monotonic": lambda: float(next(hours))}}.get(name, {"limits": {}})


def addresses(count: int) -> Sequence[str]:
    """Made-up people."""
    return [f"crowd{number}@example.com" for number in range(count)]
