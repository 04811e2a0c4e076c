"""The compose file and .env.example fit each other and what the programs read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from lettertrail import esps
from lettertrail.clock import system_clock
from lettertrail.esps.port import AccountConnection
from lettertrail.sandbox.server import read_options
from lettertrail.sandbox.twins import TWINS
from lettertrail.settings import PROJECT_ROOT
from lettertrail.warehouse.roles import ROLES

KEY = "0123456789abcdef0123456789abcdef-us1"


@pytest.fixture(scope="module")
def example() -> dict[str, str]:
    """.env.example with every empty secret filled."""
    lines = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name: value or (KEY if re.search("_(PASSWORD|SECRET|KEY)$", name) else "") for name, value in pairs.items()}


@pytest.fixture(scope="module")
def services(example: dict[str, str]) -> dict[str, Any]:
    """The compose file's services with .env in place."""
    text = (PROJECT_ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(fill(text, example))["services"]


def fill(text: str, values: dict[str, str]) -> str:
    """Variables replaced as compose does, defaults inside defaults included."""
    inner = re.compile(r"\$\{(\w+)(?::([-?])((?:[^{}]|\{[^{}$]*\})*))?\}")

    def value(found: re.Match[str]) -> str:
        name, kind, rest = (*found.groups(), None, None)[:3]
        return values.get(str(name)) or (rest if kind == "-" else "") or ""

    # JSON braces in a default would hide where it ends: the innermost variables go first.
    text = re.sub(r"\$\{(\w+)\}", value, text)
    lines = []
    for line in text.splitlines():
        json_default = re.fullmatch(r"(\s*\w+: )\$\{(\w+):-(\{.*\})\}", line)
        if json_default:
            lines.append(f"{json_default[1]}{json.dumps(values.get(json_default[2]) or json_default[3])}")
        else:
            lines.append(inner.sub(value, line))
    return "\n".join(lines)


def test_every_adapter_has_its_sample_account(services: dict[str, Any]) -> None:
    """Its connection is one the adapter takes, and it leads to the sandbox."""
    environment = services["scheduler"]["environment"]
    hosts = environment["LETTERTRAIL_ALLOWED_HOSTS"].split(",")
    for name in esps.names():
        given = json.loads(environment[f"AIRFLOW_CONN_{name.upper()}"])
        assert given["conn_type"] == name
        extra = given.get("extra", {})
        connection = AccountConnection(name, given["host"], given.get("login"), given["password"], extra)
        esps.load(name).connect(connection, clock=system_clock, allowed_hosts=hosts)


def test_the_sandbox_starts_with_what_it_is_given(services: dict[str, Any]) -> None:
    """Every twin has a port and its secrets, and is waited for."""
    sandbox = services["sandbox"]
    options = read_options(sandbox["command"].split()[3:], sandbox["environment"])
    assert {account.twin.name for account in options.accounts} == {twin.name for twin in TWINS}
    assert all(account.port == account.twin.port for account in options.accounts)
    assert "range(8091, 8098)" in sandbox["healthcheck"]["test"][-1]


def test_every_role_gets_a_password(services: dict[str, Any]) -> None:
    """A role without one could not log in."""
    environment = services["init"]["environment"]
    for role in ROLES:
        assert environment[f"LETTERTRAIL_ROLE_PASSWORD_{role.removeprefix('lettertrail_').upper()}"] == KEY


def test_the_inbox_knows_nothing_else(services: dict[str, Any]) -> None:
    """It faces the outside: only its own role, none of Airflow's secrets and no file of theirs."""
    inbox = services["inbox"]
    assert set(inbox["environment"]) == {
        "LETTERTRAIL_INBOX_DSN", "LETTERTRAIL_INBOX_ACCOUNTS", "LETTERTRAIL_INBOX_URL", "LETTERTRAIL_LINK_SECRETS",
        "LETTERTRAIL_PREFERENCES_SENDER",
    }  # fmt: skip
    assert "lettertrail_inbox:" in inbox["environment"]["LETTERTRAIL_INBOX_DSN"]
    assert inbox["volumes"] == []
