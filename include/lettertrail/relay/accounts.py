"""The accounts that letters go out through, in order: the first is asked first.

    LETTERTRAIL_RELAY_ACCOUNTS      connection ids, comma separated: mailchimp,unisender
    LETTERTRAIL_RELAY_CONNECTIONS   JSON, or the path of a file with it: what `airflow connections export` writes
    AIRFLOW_CONN_<ID>               without the former: one connection each, as JSON

Read without Airflow, so that order confirmations go out while it is down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lettertrail import esps
from lettertrail.errors import ConfigurationError
from lettertrail.esps.port import AccountConnection
from lettertrail.settings import read_object

ACCOUNTS = "LETTERTRAIL_RELAY_ACCOUNTS"
CONNECTIONS = "LETTERTRAIL_RELAY_CONNECTIONS"


def read_accounts(environ: Mapping[str, str]) -> list[AccountConnection]:
    """What the environment says.

    Raises:
        ConfigurationError: naming the variable and the account, never what it holds.
    """
    names = [name.strip() for name in environ.get(ACCOUNTS, "").split(",") if name.strip()]
    if not names:
        raise ConfigurationError(f"{ACCOUNTS} is not set: the accounts to send through, the first one first")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{ACCOUNTS} names an account twice")
    exported = environ.get(CONNECTIONS, "").strip()
    connections = read_object(CONNECTIONS, exported) if exported else None
    return [_account(name, environ, connections) for name in names]


def _account(name: str, environ: Mapping[str, str], connections: Mapping[str, Any] | None) -> AccountConnection:
    esps.load(esps.adapter_name(name))
    if connections is not None:
        where, given = f"{name} in {CONNECTIONS}", connections.get(name)
    else:
        where = f"AIRFLOW_CONN_{name.upper()}"
        text = environ.get(where, "").strip()
        given = read_object(where, text) if text else None
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"there is no {where}: the connection of the relay's account {name}")
    extra = given.get("extra") or {}
    if isinstance(extra, str):
        extra = read_object(f"extra of {where}", extra)
    host, port = given.get("host"), given.get("port")
    return AccountConnection(
        conn_id=name,
        base_url=f"{host}:{port}" if host and port and "://" not in host else host,
        login=given.get("login"),
        password=given.get("password"),
        extra={key: value for key, value in extra.items() if value is not None},
    )
