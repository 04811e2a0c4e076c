"""The demo's ESP accounts: every adapter has one, and both ends have the same secrets."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from lettertrail import esps
from lettertrail.clock import system_clock
from lettertrail.demo import accounts
from lettertrail.demo.layout import DemoConfig
from lettertrail.esps.port import AccountConnection
from lettertrail.inbox.accounts import read_webhooks
from lettertrail.sandbox.server import read_options
from lettertrail.sandbox.twins import TWINS


@pytest.fixture(scope="module")
def config() -> DemoConfig:
    """A fresh demo."""
    return DemoConfig.fresh(seed=7, scale=0.5, as_of=date(2026, 11, 1)).with_ports(frozenset())


def test_every_adapter_has_an_account() -> None:
    """An adapter without one would have a DAG that fails every hour."""
    assert sorted(accounts.ACCOUNTS) == sorted(esps.names())
    assert {twin.name for twin in TWINS} == {*accounts.ACCOUNTS, *accounts.TRANSACTIONAL.values()}


def test_the_adapters_take_the_connections(config: DemoConfig) -> None:
    """Each connects where its twin listens, single letters included."""
    found = accounts.connections(config.secrets, config.ports)
    hosts = [f"127.0.0.1:{config.ports[twin.name]}" for twin in TWINS]
    for each in found:
        connection = AccountConnection(
            each["connection_id"],
            each["host"],
            each.get("login"),
            each["password"],
            json.loads(each.get("extra", "{}")),
        )
        esp = esps.load(each["conn_type"]).connect(connection, clock=system_clock, allowed_hosts=hosts)
        assert esp.account == each["connection_id"]
    assert [each["connection_id"] for each in found] == list(accounts.ACCOUNTS)


def test_the_sandbox_takes_the_secrets(config: DemoConfig, tmp_path: Path) -> None:
    """It would not start without one of them, and the password of a connection is what guards its twin."""
    arguments = [
        "--state",
        str(tmp_path),
        "--world",
        str(tmp_path),
        "--bitrix-port",
        "1",
        "--bitrix-dsn",
        "mysql://x/y",
    ]
    arguments += [word for twin in TWINS for word in (twin.option, str(config.ports[twin.name]))]
    environment = accounts.sandbox_environment(config.secrets) | {"SANDBOX_BITRIX_SECRET": "s"}
    options = read_options(arguments, environment)
    assert [account.twin for account in options.accounts] == list(TWINS)
    passwords = {each["connection_id"]: each["password"] for each in accounts.connections(config.secrets, config.ports)}
    for account in options.accounts:
        if account.twin.name in passwords:
            assert account.secrets[account.twin.guard] == passwords[account.twin.name]


def test_the_inbox_takes_the_accounts(config: DemoConfig) -> None:
    """Every account has addresses to register."""
    known = json.dumps(accounts.webhook_accounts(config.secrets))
    webhooks = read_webhooks({"LETTERTRAIL_INBOX_ACCOUNTS": known, "LETTERTRAIL_INBOX_URL": "http://127.0.0.1:1"})
    assert {webhook.account for webhook in webhooks} == set(accounts.ACCOUNTS)


def test_a_demo_of_an_older_version_goes_on(config: DemoConfig, tmp_path: Path) -> None:
    """What it has no secrets for gets some; those it has stay."""
    path = tmp_path / "demo.json"
    config.write(path)
    stored = json.loads(path.read_text(encoding="utf-8"))
    del stored["secrets"]["unisender_api_key"]
    path.write_text(json.dumps(stored), encoding="utf-8")
    again = DemoConfig.read(path)
    assert again is not None
    assert again.secrets["unisender_api_key"]
    assert again.secrets["mailchimp_api_key"] == config.secrets["mailchimp_api_key"]
