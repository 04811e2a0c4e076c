"""Webhooks and applications: which a connection is, where its tokens are kept, what is never shown."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.bitrix.cloud_portal import CLIENT, ENTRIES, NOW, SECRET, ZONE, Portal, read, running
from tests.scripted_server import Reply, ScriptedServer

from lettertrail.bitrix.cloud import CloudSource
from lettertrail.bitrix.cloud_auth import Application, Settings, Webhook, entrance
from lettertrail.clock import fixed_clock, system_clock
from lettertrail.errors import AuthenticationError, ConfigurationError, ContractError
from lettertrail.esps.port import AccountConnection
from lettertrail.sandbox.bitrix_methods import tokens as sandbox_tokens
from lettertrail.sandbox.bitrix_site import Site

FIRST = {"access_token": "acc3ss-1", "refresh_token": "r3fresh-1"}
SECOND = {"access_token": "acc3ss-2", "refresh_token": "r3fresh-2"}


def connected(server: ScriptedServer, directory: Path, *, refresh: str = "from-the-connection") -> Application:
    """An application whose authorisation server is scripted."""
    connection = AccountConnection(
        "bitrix24", server.url, "app.1", "cl1entsecret", {"refresh_token": refresh, "oauth_server": server.url}
    )
    door = entrance(connection, state_dir=directory, clock=system_clock, allowed_hosts=[server.host])
    assert isinstance(door, Application)
    return door


def kept(directory: Path) -> Path:
    """The token file."""
    (file,) = (directory / "bitrix24").glob("*.json")
    return file


# --- which of the two


@pytest.mark.parametrize(
    ("address", "login", "password"),
    [
        ("https://x.bitrix24.ru/rest/7/s3cret/", None, None),
        ("x.bitrix24.ru", "7", "s3cret"),
        ("https://x.bitrix24.ru/rest", " 7 ", " s3cret "),
    ],
)
def test_webhooks(address: str, login: str | None, password: str | None, tmp_path: Path) -> None:
    """The whole URL, or its parts."""
    door = entrance(AccountConnection("bitrix24", address, login, password), state_dir=tmp_path, clock=system_clock)
    assert door == Webhook("https://x.bitrix24.ru/rest/7/s3cret")
    assert door.token() is None
    assert not door.is_application
    assert "s3cret" not in repr(door)


@pytest.mark.parametrize(
    ("address", "login", "password", "extra"),
    [
        (None, "7", "s3cret", {}),
        ("x.bitrix24.ru", None, None, {}),
        ("x.bitrix24.ru", "app.1", "s3cret", {}),
        ("x.bitrix24.ru", "app.1", None, {"refresh_token": "r"}),
    ],
)
def test_a_connection_that_is_neither_says_what_to_do(
    address: str | None, login: str | None, password: str | None, extra: dict[str, object], tmp_path: Path
) -> None:
    """By its name, without what it holds."""
    connection = AccountConnection("bitrix24", address, login, password, extra)
    with pytest.raises(ConfigurationError, match="connection 'bitrix24' must hold") as raised:
        entrance(connection, state_dir=tmp_path, clock=system_clock)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("address", ["https://evil.example/rest/1/s3cret", "http://x.bitrix24.ru/rest/1/s3cret"])
def test_only_portals_may_be_called(address: str, tmp_path: Path) -> None:
    """And only by https."""
    with pytest.raises(ConfigurationError, match="not an allowed outbound host") as raised:
        CloudSource.connect(
            AccountConnection("bitrix24", address),
            timezone=ZONE,
            clock=system_clock,
            state_dir=tmp_path,
            allowed_hosts=[],
        )
    assert "s3cret" not in str(raised.value)
    extra = {"refresh_token": "r", "oauth_server": "https://oauth.evil.example"}
    with pytest.raises(ConfigurationError, match="not an allowed outbound host"):
        entrance(
            AccountConnection("bitrix24", "x.bitrix24.ru", "app.1", "s", extra), state_dir=tmp_path, clock=system_clock
        )


def test_settings_of_a_connection() -> None:
    """The cloud's, unless the extra says otherwise; nonsense is refused by name."""
    assert Settings.of(AccountConnection("bitrix24")) == Settings(False, 480.0, True)
    extra: dict[str, object] = {"plan": "Enterprise", "operating_seconds": 420, "offline_events": False}
    assert Settings.of(AccountConnection("bitrix24", extra=extra)) == Settings(True, 420.0, False)
    for wrong in (0, -1, "480", True):
        with pytest.raises(ConfigurationError, match="operating_seconds"):
            Settings.of(AccountConnection("bitrix24", extra={"operating_seconds": wrong}))


# --- tokens


def test_the_first_token_is_bought_with_the_connection_s_refresh_token(tmp_path: Path) -> None:
    """And kept where only we can read it; the next process needs no new one."""
    with ScriptedServer([Reply(FIRST)]) as server:
        assert connected(server, tmp_path).token() == "acc3ss-1"
        (asked,) = server.seen
        assert (asked.path, asked.one("grant_type")) == ("/oauth/token/", "refresh_token")
        assert asked.one("refresh_token") == "from-the-connection"
        assert connected(server, tmp_path).token() == "acc3ss-1"
        assert len(server.seen) == 1
    assert kept(tmp_path).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "bitrix24").stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "bitrix24").iterdir() if path.suffix not in (".json", ".lock")] == []


def test_each_refresh_token_is_used_once(tmp_path: Path) -> None:
    """The rotated one, not the connection's, buys the next."""
    with ScriptedServer([Reply(FIRST), Reply(SECOND)]) as server:
        door = connected(server, tmp_path)
        door.renew(door.token())
        assert door.token() == "acc3ss-2"
        assert [seen.one("refresh_token") for seen in server.seen] == ["from-the-connection", "r3fresh-1"]


def test_what_another_process_bought_is_taken_over(tmp_path: Path) -> None:
    """Two tasks that meet the same expired token buy one new."""
    with ScriptedServer([Reply(FIRST), Reply(SECOND)]) as server:
        one, other = connected(server, tmp_path), connected(server, tmp_path)
        stale = one.token()
        assert other.token() == stale
        one.renew(stale)
        other.renew(stale)
        assert (one.token(), other.token()) == ("acc3ss-2", "acc3ss-2")
        assert len(server.seen) == 2


RENEW = """
import sys
from pathlib import Path
from lettertrail.bitrix.cloud_auth import entrance
from lettertrail.clock import system_clock
from lettertrail.esps.port import AccountConnection
url, host, directory, stale = sys.argv[1:]
extra = {"refresh_token": "from-the-connection", "oauth_server": url}
connection = AccountConnection("bitrix24", url, "app.1", "cl1entsecret", extra)
door = entrance(connection, state_dir=Path(directory), clock=system_clock, allowed_hosts=[host])
door.renew(stale)
print(door.token())
"""


def test_processes_that_renew_at_once_take_turns(tmp_path: Path) -> None:
    """The others find what the first wrote: the chain of tokens never forks."""
    script = [Reply(FIRST), Reply(SECOND, delay=1.0), Reply({"error": "invalid_grant"}, 400)]
    with ScriptedServer(script) as server:
        stale = connected(server, tmp_path).token()
        command = [sys.executable, "-c", RENEW, server.url, server.host, str(tmp_path), stale]
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        told = [worker.communicate(timeout=60)[0].strip() for worker in workers]
        assert told == ["acc3ss-2"] * 3
        assert len(server.seen) == 2


def test_a_new_refresh_token_in_the_connection_begins_a_new_chain(tmp_path: Path) -> None:
    """That is how a person repairs a broken one."""
    with ScriptedServer([Reply(FIRST), Reply(SECOND)]) as server:
        connected(server, tmp_path).token()
        assert connected(server, tmp_path, refresh="typed-in-anew").token() == "acc3ss-2"
        assert server.seen[1].one("refresh_token") == "typed-in-anew"


def test_a_refused_refresh_token_asks_for_a_person(tmp_path: Path) -> None:
    """And is not tried over and over."""
    with ScriptedServer([Reply({"error": "invalid_grant", "error_description": "from-the-connection"}, 400)]) as server:
        with pytest.raises(AuthenticationError, match=r"invalid_grant.*authorise it again") as raised:
            connected(server, tmp_path).token()
        assert len(server.seen) == 1
    assert "from-the-connection" not in str(raised.value)


def test_an_answer_without_tokens_changes_nothing(tmp_path: Path) -> None:
    """What was kept stays."""
    with ScriptedServer([Reply(FIRST), Reply({"access_token": "only"})]) as server:
        door = connected(server, tmp_path)
        door.token()
        before = kept(tmp_path).read_bytes()
        with pytest.raises(ContractError, match="no tokens"):
            door.renew("acc3ss-1")
        assert kept(tmp_path).read_bytes() == before


def test_a_damaged_token_file_is_named(tmp_path: Path) -> None:
    """With what to do."""
    with ScriptedServer([Reply(FIRST)]) as server:
        connected(server, tmp_path).token()
        kept(tmp_path).write_text("{half", encoding="utf-8")
        with pytest.raises(ConfigurationError, match=r"token file .*\.json cannot be read"):
            connected(server, tmp_path).token()


# --- against the portal


@pytest.fixture
def portal(bitrix_site_small: Site, tmp_path: Path) -> Iterator[Portal]:
    """The sample site's portal; its application adds two tables, gone with the session's database."""
    with running(bitrix_site_small.owner_dsn, tmp_path) as portal:
        yield portal
        portal.run("drop table if exists b_rest_event, b_rest_event_offline")


def test_an_application_reads_what_a_webhook_reads(portal: Portal) -> None:
    """With a token of its own, renewed once when it has expired."""
    deals = ENTRIES["b_crm_deal"]
    as_webhook = read(portal.source(), deals)
    source = portal.application()
    assert read(source, deals) == as_webhook
    token_file = json.loads(kept(portal.state_dir).read_text(encoding="utf-8"))
    life = sandbox_tokens.ACCESS_LIFE
    assert life == timedelta(hours=1)
    portal.expire_tokens()
    later = portal.application()
    assert read(later, deals) == as_webhook
    renewed = json.loads(kept(portal.state_dir).read_text(encoding="utf-8"))
    assert renewed["refresh_token"] != token_file["refresh_token"]


def test_secrets_are_in_no_log_and_no_error(portal: Portal, caplog: pytest.LogCaptureFixture) -> None:
    """At any level."""
    deals = ENTRIES["b_crm_deal"]
    with caplog.at_level(logging.DEBUG):
        source = portal.application()
        read(source, deals)
        read(portal.source(), deals)
        wrong = CloudSource.connect(
            AccountConnection("bitrix24", f"{portal.base}/rest/1/{SECRET}-wrong"),
            timezone=ZONE,
            clock=fixed_clock(NOW),
            state_dir=portal.state_dir,
            allowed_hosts=[portal.base.removeprefix("http://")],
        )
        with pytest.raises(AuthenticationError) as raised:
            wrong.columns(deals)
    tokens = json.loads(kept(portal.state_dir).read_text(encoding="utf-8"))
    # The portal runs in this process too; what it writes is not ours.
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn")]
    assert any("status=200" in line for line in ours)
    told = "\n".join(ours) + str(raised.value) + repr(source) + repr(source._pages._client._entrance)
    for secret in (SECRET, CLIENT.client_secret, tokens["access_token"], tokens["refresh_token"]):
        assert secret not in told
