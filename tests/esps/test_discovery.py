"""An ESP is one file: dropping it into the package is all there is to do."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from lettertrail import esps
from lettertrail.errors import ConfigurationError
from lettertrail.esps.mailchimp import Mailchimp
from lettertrail.esps.port import AccountConnection, Esp, event_id, normalise_email
from lettertrail.settings import PROJECT_ROOT

ADAPTER = '''
"""A service that knows nobody."""

from lettertrail.clock import Clock
from lettertrail.esps.port import AccountConnection, Esp
from lettertrail.http import RestClient


class {class_name}(Esp):
    name = "{name}"

    @classmethod
    def connect(cls, connection, *, clock, allowed_hosts=None):
        api = RestClient("https://quiet.example", service=cls.name, hosts=["quiet.example"])
        return cls(account=connection.conn_id, api=api, options=connection.extra, clock=clock)

    def check(self): return iter(())
    def campaigns(self, since): return iter(())
    def contacts(self, since): return iter(())
    def events(self, since): return iter(())
    def suppressed(self): return iter(())
    def suppress(self, records): return iter(())
    def members(self, audience): return iter(())
    def add_members(self, audience, records): return iter(())
    def remove_members(self, audience, records): return iter(())
'''


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Drops a file into a directory that the package looks into as well."""
    monkeypatch.setattr(esps, "__path__", [*esps.__path__, str(tmp_path)])

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        monkeypatch.delitem(sys.modules, f"lettertrail.esps.{name}", raising=False)

    return write


def test_a_new_file_is_an_adapter(drop: Callable[[str, str], None]) -> None:
    """It is listed, loaded and connected by its name, with no other edit."""
    drop("quietmail", ADAPTER.format(class_name="QuietMail", name="quietmail"))
    assert esps.names() == tuple(sorted({*esps.names(), "quietmail"}))
    adapter = esps.load("quietmail")
    assert issubclass(adapter, Esp)
    account = adapter.connect(AccountConnection("quietmail__b2b"), clock=lambda: None)
    assert (account.name, account.account, account.calls()) == ("quietmail", "quietmail__b2b", [])


def test_the_adapters_there_are() -> None:
    """The port and private helpers are no adapters."""
    assert "mailchimp" in esps.names()
    assert "port" not in esps.names()
    assert not [name for name in esps.names() if name.startswith("_")]
    assert esps.load("mailchimp") is Mailchimp


def test_every_adapter_loads() -> None:
    """What is listed can be used."""
    assert [esps.load(name).name for name in esps.names()] == list(esps.names())


def test_listing_imports_nothing() -> None:
    """A DAG file lists adapters at every parse; importing them there would cost seconds."""
    code = (
        "import sys; sys.path.insert(0, 'include'); from lettertrail import esps; esps.names(); "
        "print([name for name in sys.modules if name.startswith('lettertrail.esps.') and 'port' not in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1\n", "exactly one subclass of Esp; it holds: none"),
        ("from lettertrail.esps.mailchimp import Mailchimp\n", "it holds: none"),
        (
            "from lettertrail.esps.port import Esp\nclass One(Esp): pass\nclass Two(Esp): pass\n",
            "it holds: One, Two",
        ),
        (
            "from lettertrail.esps.port import Esp\nclass Half(Esp): name = 'oddmail'\n",
            "does not implement .*add_members",
        ),
        (ADAPTER.format(class_name="Odd", name="evenmail"), "Odd.name must be 'oddmail'"),
    ],
    ids=["none", "imported", "two", "abstract", "misnamed"],
)
def test_a_file_that_is_no_adapter_says_why(drop: Callable[[str, str], None], text: str, complaint: str) -> None:
    """The error names the file and what is wrong with it."""
    drop("oddmail", text)
    with pytest.raises(ConfigurationError, match=rf"esps/oddmail\.py.*{complaint}"):
        esps.load("oddmail")


def test_an_unknown_name_lists_the_known_ones() -> None:
    """A connection id with a slip of the pen."""
    with pytest.raises(ConfigurationError, match=r"mailchmip.*mailchimp"):
        esps.load("mailchmip")


@pytest.mark.parametrize(
    ("conn_id", "name"), [("mailchimp", "mailchimp"), ("mailchimp__b2b", "mailchimp"), ("mailchimp__a__b", "mailchimp")]
)
def test_a_second_account_belongs_to_the_same_adapter(conn_id: str, name: str) -> None:
    """The part before the double underscore names the adapter."""
    assert esps.adapter_name(conn_id) == name


def test_secrets_stay_out_of_a_connections_repr() -> None:
    """A connection ends in tracebacks sooner or later."""
    shown = repr(AccountConnection("mailchimp", password="s3cret", extra={"token": "t0ken"}))
    assert "s3cret" not in shown
    assert "t0ken" not in shown


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (None, ""),
        ("", ""),
        ("mail.example", "https://mail.example"),
        (" http://mail.example/x/ ", "http://mail.example/x"),
    ],
)
def test_an_address_is_a_url(given: str | None, address: str) -> None:
    """Airflow keeps a bare host; https is meant."""
    assert AccountConnection("mailchimp", given).address == address


def test_event_ids_keep_parts_apart() -> None:
    """Neither an empty part nor a shifted border makes two events one."""
    assert len({event_id("a", None), event_id("a", ""), event_id("a"), event_id("ab", "c"), event_id("a", "bc")}) == 5
    assert event_id("a", 1) == event_id("a", 1)


def test_addresses_are_compared_without_case_and_blanks() -> None:
    """One spelling per person."""
    assert normalise_email(" Anna@Example.COM ") == "anna@example.com"
