"""The ESP accounts of the demo: a connection per adapter, to its twin in the sandbox."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from lettertrail.sandbox.twins import TWINS, Twin

TRANSACTIONAL = {"mailchimp": "mandrill", "unisender": "unisender_go"}
"""Account → the service its single letters go through, an account of its own there."""
ACCOUNTS = tuple(twin.name for twin in TWINS if twin.name not in TRANSACTIONAL.values())
"""Connection ids; the adapters of the same names read them."""
_PATHS = {"mailchimp": "/3.0", "mandrill": "/api/1.0"}
_LOGINS = {"sendpulse": "client_id", "esputnik": "login"}
"""Which of a service's secrets is the login; the guard of its faults is the password."""
_OPTIONS = {"esputnik": {"history_days": "30"}}
"""It lets in a call a second: to read years of activity first would take most of the demo."""


def new_secrets() -> dict[str, str]:
    """A value for every secret of every service, by `<service>_<secret>`, and a webhook token per account."""
    made = {f"{twin.name}_{name}": secrets.token_hex(16) for twin in TWINS for name in twin.secrets}
    made["mailchimp_api_key"] += "-us1"
    made["esputnik_login"] = f"{secrets.token_hex(4)}@shop.example"
    return made | {f"{account}_webhook": secrets.token_urlsafe(24) for account in ACCOUNTS}


def sandbox_environment(made: Mapping[str, str]) -> dict[str, str]:
    """The variables the sandbox reads the secrets from."""
    return {variable: made[f"{twin.name}_{name}"] for twin in TWINS for name, variable in twin.secrets.items()}


def connections(made: Mapping[str, str], ports: Mapping[str, int]) -> list[dict[str, Any]]:
    """The Airflow connections, in the words of its REST API."""
    return [_connection(twin, made, ports) for twin in TWINS if twin.name in ACCOUNTS]


def webhook_accounts(made: Mapping[str, str]) -> dict[str, Any]:
    """What the inbox knows of the accounts, see `lettertrail.inbox.accounts`. UniSender signs with its API keys."""
    known: dict[str, Any] = {account: {"token": made[f"{account}_webhook"]} for account in ACCOUNTS}
    known["unisender"]["secrets"] = {
        "marketing": [made["unisender_api_key"]],
        "transactional": [made["unisender_go_api_key"]],
    }
    return known


def _connection(twin: Twin, made: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "connection_id": twin.name,
        "conn_type": twin.name,
        "host": _address(twin.name, ports),
        "password": made[f"{twin.name}_{twin.guard}"],
    }
    if twin.name in _LOGINS:
        found["login"] = made[f"{twin.name}_{_LOGINS[twin.name]}"]
    extra = dict(_OPTIONS.get(twin.name, {}))
    if other := TRANSACTIONAL.get(twin.name):
        extra |= {"transactional_key": made[f"{other}_api_key"], "transactional_host": _address(other, ports)}
    return found | ({"extra": json.dumps(extra)} if extra else {})


def _address(service: str, ports: Mapping[str, int]) -> str:
    return f"http://127.0.0.1:{ports[service]}{_PATHS.get(service, '')}"
