"""The e-mail services of the sandbox, one entry each: server, demo and their options are made from this list."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lettertrail.sandbox.esps import esputnik, mailchimp, mandrill, sendpulse, unisender, unisender_go
from lettertrail.sandbox.state import SqliteState

if TYPE_CHECKING:
    from lettertrail.sandbox.world import World


@dataclass(frozen=True, slots=True)
class Twin:
    """One service: how its account is kept, filled and served."""

    name: str
    """Of its state file, its journal lines and its options: `--mailchimp-port`."""
    title: str
    port: int
    """Preferred by the demo."""
    store: Callable[[Path], SqliteState]
    seed: Callable[[World, Any], bool]
    app: Callable[..., Any]
    """Takes the store and the secrets by name; has `close`."""
    asks_for_change: Callable[..., bool]
    secrets: Mapping[str, str]
    """Argument of `app` → environment variable that has it."""
    guard: str = "api_key"
    """The secret that orders faults."""
    shape: re.Pattern[str] | None = None
    """What the guard must look like."""

    @property
    def option(self) -> str:
        """Where it listens; without it the service is not started."""
        return f"--{self.name.replace('_', '-')}-port"


TWINS = (
    Twin(
        name="mailchimp",
        title="Mailchimp",
        port=8091,
        store=mailchimp.MailchimpStore,
        seed=mailchimp.seed_mailchimp,
        app=mailchimp.create_app,
        asks_for_change=mailchimp.asks_for_change,
        secrets={"api_key": "SANDBOX_MAILCHIMP_KEY"},
        # 32 hexadecimal digits, a hyphen and a data centre such as us1.
        shape=re.compile(r"[0-9a-f]{32}-[a-z]+\d+"),
    ),
    Twin(
        name="sendpulse",
        title="SendPulse",
        port=8093,
        store=sendpulse.SendPulseStore,
        seed=sendpulse.seed_sendpulse,
        app=sendpulse.create_app,
        asks_for_change=sendpulse.asks_for_change,
        secrets={"client_id": "SANDBOX_SENDPULSE_ID", "client_secret": "SANDBOX_SENDPULSE_SECRET"},
        guard="client_secret",
    ),
    Twin(
        name="esputnik",
        title="eSputnik",
        port=8094,
        store=esputnik.EsputnikStore,
        seed=esputnik.seed_esputnik,
        app=esputnik.create_app,
        asks_for_change=esputnik.asks_for_change,
        secrets={"login": "SANDBOX_ESPUTNIK_LOGIN", "api_key": "SANDBOX_ESPUTNIK_KEY"},
    ),
    Twin(
        name="unisender",
        title="UniSender",
        port=8095,
        store=unisender.UnisenderStore,
        seed=unisender.seed_unisender,
        app=unisender.create_app,
        asks_for_change=unisender.asks_for_change,
        secrets={"api_key": "SANDBOX_UNISENDER_KEY"},
    ),
    Twin(
        name="unisender_go",
        title="UniSender Go",
        port=8096,
        store=unisender_go.UnisenderGoStore,
        seed=unisender_go.seed_unisender_go,
        app=unisender_go.create_app,
        asks_for_change=unisender_go.asks_for_change,
        secrets={"api_key": "SANDBOX_UNISENDER_GO_KEY"},
    ),
    Twin(
        name="mandrill",
        title="Mandrill",
        port=8097,
        store=mandrill.MandrillStore,
        seed=mandrill.seed_mandrill,
        app=mandrill.create_app,
        asks_for_change=mandrill.asks_for_change,
        secrets={"api_key": "SANDBOX_MANDRILL_KEY"},
    ),
)
