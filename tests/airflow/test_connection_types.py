"""The connection types in Airflow's UI, and what their test button says."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service

from lettertrail import esps
from lettertrail.settings import PROJECT_ROOT

# Airflow's own button goes this way.
pytestmark = pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")


@pytest.fixture(scope="module")
def forms(airflow_home: None) -> dict[str, Any]:
    """What the UI is told about each connection type."""
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService  # noqa: PLC0415

    return {form.connection_type: form for form in HookMetaService.hook_meta_data()}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailchimpService]:
    """A Mailchimp that an operator allows to talk to."""
    with mailchimp_service(tmp_path) as running:
        monkeypatch.setenv("LETTERTRAIL_ALLOWED_HOSTS", running.base.partition("://")[2].partition("/")[0])
        yield running


def press_test(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> tuple[bool, str]:
    """What the form's button does: a connection of a made-up id, in the environment, tested."""
    from airflow.models.connection import Connection  # noqa: PLC0415

    connection = Connection(conn_id="x7f3", **fields)
    monkeypatch.setenv("AIRFLOW_CONN_X7F3", connection.get_uri())
    is_ok, message = connection.test_connection()
    return is_ok, message


def test_the_package_says_what_it_is() -> None:
    """Airflow finds providers by their metadata, which lie beside the package and must not lag behind it."""
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = importlib.metadata.metadata(project["name"])
    assert (metadata["Name"], metadata["Version"]) == (project["name"], project["version"])
    assert metadata["Summary"] == project["description"]


@pytest.mark.parametrize("name", [*esps.names(), "bitrix24", "bitrix_database"])
def test_every_account_has_a_form(forms: dict[str, Any], name: str) -> None:
    """A type that is not offered can only be entered by hand, without a word on what goes where."""
    form = forms[name]
    assert form.hook_name
    assert form.standard_fields.password.title
    assert not form.standard_fields.password.hidden


@pytest.mark.parametrize("name", esps.names())
def test_a_form_is_what_the_adapter_declares(forms: dict[str, Any], name: str) -> None:
    """Labels, placeholders, options and which of them is a secret come from the class alone."""
    adapter, form = esps.load(name), forms[name]
    assert form.hook_name == adapter.title
    assert form.standard_fields.host.hidden == ("host" not in adapter.labels)
    assert form.standard_fields.login.placeholder == adapter.placeholders.get("login")
    fields = form.extra_fields or {}
    assert set(fields) == {field.name for field in adapter.fields}
    for field in adapter.fields:
        assert fields[field.name]["schema"]["title"] == field.title
        assert (fields[field.name]["schema"].get("format") == "password") == field.is_secret


def test_the_button_tells_each_step(service: MailchimpService, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the right key it says what it found; the id of the connection does not matter."""
    is_ok, message = press_test(monkeypatch, conn_type="mailchimp", host=service.base, password=service.secret)
    assert is_ok
    assert "account:" in message


def test_the_button_tells_what_to_do(service: MailchimpService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key fails at the first step, with a sentence and without the key."""
    wrong = "0" * 32 + "-us1"
    is_ok, message = press_test(monkeypatch, conn_type="mailchimp", host=service.base, password=wrong)
    assert not is_ok
    assert message.startswith("key:")
    assert "renew" in message
    assert wrong not in message


def test_the_button_tells_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is called."""
    is_ok, message = press_test(monkeypatch, conn_type="mailchimp", host="https://us1.api.mailchimp.com")
    assert not is_ok
    assert "put the API key there" in message


def test_an_application_is_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test would take the refresh token away from the runs that need it."""
    fields = {"host": "https://p.bitrix24.ru", "login": "app.1", "password": "s", "extra": '{"refresh_token": "r"}'}
    is_ok, message = press_test(monkeypatch, conn_type="bitrix24", **fields)
    assert not is_ok
    assert "use up the refresh token" in message


def test_a_database_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own words, without the password."""
    fields = {"host": "127.0.0.1", "port": 1, "login": "l", "password": "s3cr3t", "schema": "sitemanager"}
    is_ok, message = press_test(monkeypatch, conn_type="bitrix_database", extra='{"server": "postgresql"}', **fields)
    assert not is_ok
    assert message.startswith("tables:")
    assert "s3cr3t" not in message


def test_a_database_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that names no server is told."""
    fields = {"host": "127.0.0.1", "schema": "s", "extra": '{"server": "oracle"}'}
    is_ok, message = press_test(monkeypatch, conn_type="bitrix_database", **fields)
    assert (is_ok, "mysql or postgresql" in message) == (False, True)
