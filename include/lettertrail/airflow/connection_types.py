"""The connection types that Airflow's UI offers: one per ESP adapter, read from its class, and those of Bitrix.

A new adapter is offered without an edit here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from lettertrail import esps
from lettertrail.airflow.accounts import BITRIX24, BITRIX_DATABASE
from lettertrail.errors import ConfigurationError
from lettertrail.esps.port import ConnectionField, Esp

log = logging.getLogger(__name__)

HIDEABLE = ("host", "port", "login", "password", "schema")


@dataclass(frozen=True, slots=True)
class ConnectionType:
    """How the form of one type of connection looks."""

    name: str
    title: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the fields of `HIDEABLE` mean here; one that is not named is hidden. Empty: all as usual."""
    placeholders: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[ConnectionField, ...] = ()
    """Further fields; their values are in the connection's extra."""

    def as_provider_info(self) -> dict[str, object]:
        """An entry of `connection-types` in Airflow's provider information."""
        behaviour = {
            "hidden-fields": [name for name in HIDEABLE if self.labels and name not in self.labels],
            "relabeling": dict(self.labels),
            "placeholders": dict(self.placeholders),
        }
        return {
            "connection-type": self.name,
            "hook-class-name": f"lettertrail.airflow.hooks.{self.name}",
            "hook-name": self.title,
            "ui-field-behaviour": behaviour,
            "conn-fields": {each.name: _form_field(each) for each in self.fields},
        }


def connection_types() -> dict[str, ConnectionType]:
    """All of them by name. An adapter that cannot be imported is left out, with an error in the log."""
    found = [_BITRIX24, _BITRIX_DATABASE]
    for name in esps.names():
        try:
            found.append(_of_adapter(esps.load(name)))
        except (ConfigurationError, ImportError, SyntaxError) as error:
            # Airflow reads this in every process: one broken file must not stop them all.
            log.error("ESP adapter %s offers no connection type: %s", name, error)
    return {each.name: each for each in found}


def _of_adapter(adapter: type[Esp]) -> ConnectionType:
    return ConnectionType(
        adapter.name, adapter.title or adapter.name, adapter.labels, adapter.placeholders, adapter.fields
    )


def _form_field(each: ConnectionField) -> dict[str, object]:
    schema: dict[str, object] = {"type": ["string", "null"]}
    if each.is_secret:
        schema["format"] = "password"
    return {"label": each.title, "description": each.description, "schema": schema}


_BITRIX24 = ConnectionType(
    name=BITRIX24,
    title="Bitrix24",
    labels={"host": "Portal", "login": "User's id (or client_id)", "password": "Webhook secret (or client_secret)"},
    placeholders={"host": "https://example.bitrix24.ru", "login": "1"},
    fields=(
        ConnectionField("refresh_token", "Refresh token", "First one of an application; a webhook needs none", True),
        ConnectionField("plan", "Plan", "enterprise: the portal allows more calls"),
    ),
)
_BITRIX_DATABASE = ConnectionType(
    name=BITRIX_DATABASE,
    title="Bitrix database",
    labels={
        "host": "Host",
        "port": "Port",
        "schema": "Database",
        "login": "Login of a read-only account",
        "password": "Password",
    },
    placeholders={"host": "db.example.com", "schema": "sitemanager", "login": "lettertrail", "server": "mysql"},
    fields=(ConnectionField("server", "Server", "mysql (also MariaDB; the default) or postgresql"),),
)
