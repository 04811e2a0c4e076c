"""The receiver's answers: what is 200, what is not, and that nothing is ever 410 or 5xx for what is sent."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from typing import Any

import pytest
from bench.inbox import letters
from bench.inbox.garbage import garbage
from tests.inbox.conftest import NOW, UNIX, Answer, MemoryStore, ask, post, webhooks

from lettertrail.clock import fixed_clock
from lettertrail.errors import ConfigurationError
from lettertrail.inbox.app import Inbox, create_app
from lettertrail.inbox.limits import Allowance, Limits, is_too_deep

SENDPULSE = f"/sendpulse/marketing/{letters.TOKEN}"
JSON = {"Content-Type": "application/json"}


def test_200_means_kept(app: Inbox, store: MemoryStore) -> None:
    """Byte for byte, and 503 with a time to come back when it is not."""
    body = b'[{"event":"open", "email" : "a@example.com"}]\n\xff'
    assert ask(app, "POST", SENDPULSE, body, JSON).status == 200
    assert [(kept.account, kept.kind, kept.body, kept.verdict) for kept in store.kept] == [
        ("sendpulse", "marketing", body, "path")
    ]
    store.is_down = True
    answer = ask(app, "POST", SENDPULSE, body, JSON)
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_services_may_try_an_address(app: Inbox, store: MemoryStore, method: str) -> None:
    """The handshakes of Mailchimp, Mandrill, UniSender Go and eSputnik, none of them signed."""
    assert ask(app, method, SENDPULSE).status == 200
    assert ask(app, method, SENDPULSE.replace(letters.TOKEN, "x" * 40)).status == 404
    assert store.kept == []


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/x", SENDPULSE + "/", SENDPULSE[:-1], SENDPULSE + "x", SENDPULSE.upper(), "/sendpulse/marketing/",
        SENDPULSE.replace("marketing", "events"), SENDPULSE.replace("sendpulse", "mailchimp__b2b"), "/" + SENDPULSE,
        SENDPULSE.replace(letters.TOKEN, "\udcff"), "x" + SENDPULSE, "/health/",
    ],
)  # fmt: skip
def test_every_other_address_is_unknown(app: Inbox, store: MemoryStore, path: str) -> None:
    """Without a hint which part of it is wrong, and without reading a body."""
    assert ask(app, "POST", path, b"{}") == Answer(404, {"content-length": "0"}, b"")
    assert store.kept == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_other_methods_are_refused(app: Inbox, method: str) -> None:
    """With the ones that are not."""
    answer = ask(app, method, SENDPULSE)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")


def test_a_long_body_is_refused_before_it_is_read(app: Inbox, store: MemoryStore) -> None:
    """By what it promises, and by what comes when it promises nothing; a mebibyte is taken."""
    size = Limits().body_bytes
    assert ask(app, "POST", SENDPULSE, b"", {"Content-Length": str(size + 1)}).status == 413
    assert ask(app, "POST", SENDPULSE, b"", {"Content-Length": "9" * 5000}).status == 413
    assert ask(app, "POST", SENDPULSE, b"a" * (size + 1)).status == 413
    assert ask(app, "POST", SENDPULSE, [b"a" * size, b"a"]).status == 413
    assert store.kept == []
    assert ask(app, "POST", SENDPULSE, [b"a" * (size - 1), b"a"]).status == 200
    assert len(store.kept[0].body) == size


def test_long_headers_are_refused(app: Inbox) -> None:
    """They would be stored."""
    assert ask(app, "POST", SENDPULSE, b"[]", {"X-Long": "a" * 40_000}).status == 431


def test_deep_json_is_refused(app: Inbox, store: MemoryStore) -> None:
    """What reads it later goes down level by level; brackets in texts are no levels."""
    for deep in (b"[" * 33, b'{"a":' * 33 + b"1" + b"}" * 33, b'["\\"", ' * 40):
        assert ask(app, "POST", SENDPULSE, deep).status == 400
    assert store.kept == []
    flat = json.dumps([{"event": "open", "text": '[[[["{{{{' * 20}] * 50).encode()
    assert ask(app, "POST", SENDPULSE, flat).status == 200


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * 32 + b"]" * 32, False), (b"[" * 33 + b"]" * 33, True), (b"[]" * 500, False), (b"[}" * 500, False),
        (b'"' + b"[" * 500, False), (b'"\\' + b"[" * 500, False), (b'"a\\"' + b"[" * 99 + b'"' + b"[" * 33, True),
        (b'\\"' * 300_000, False), (b"[{" * 300_000, True),
    ],
)  # fmt: skip
def test_depth(body: bytes, *, deep: bool) -> None:
    """Counted in one go over the bytes: the long ones would take hours otherwise."""
    assert is_too_deep(body, 32) is deep


def test_a_packed_body_is_verified_unpacked_and_kept_packed(app: Inbox, store: MemoryStore) -> None:
    """UniSender Go may be set to gzip; a small body that unpacks to a huge one is refused."""
    hook = letters.unisender(1, unix=UNIX)
    packed = gzip.compress(hook.body)
    headers = {**hook.headers, "Content-Encoding": "gzip"}
    assert ask(app, "POST", hook.path, packed, headers).status == 200
    assert (store.kept[0].body, store.kept[0].headers["content-encoding"]) == (packed, "gzip")
    for bad in (packed[:-1], b"", hook.body, gzip.compress(b"[" + b" " * Limits().body_bytes), b"\x1f\x8b"):
        assert ask(app, "POST", hook.path, bad, headers).status == 400
    assert len(store.kept) == 1


def test_a_body_that_does_not_come_is_not_waited_for(store: MemoryStore) -> None:
    """A dripping sender would hold a connection for ever; one that hangs up leaves nothing behind."""
    app = create_app(store, webhooks(), limits=Limits(body_seconds=0.05))
    waiting = asyncio.Event()

    async def slow() -> list[int]:
        sent: list[Any] = []
        first = iter([{"type": "http.request", "body": b"[", "more_body": True}])

        async def receive() -> dict[str, Any]:
            for message in first:
                return message
            await waiting.wait()
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": SENDPULSE, "headers": []}
        await app(scope, receive, send)
        return [message["status"] for message in sent if "status" in message]

    assert asyncio.run(slow()) == [408]


def test_a_sender_who_hangs_up_is_forgotten(app: Inbox, store: MemoryStore) -> None:
    """Half a body is no delivery."""

    async def hang_up() -> None:
        messages = iter([{"type": "http.request", "body": b"[", "more_body": True}, {"type": "http.disconnect"}])

        async def receive() -> dict[str, Any]:
            return next(messages)

        async def send(message: Any) -> None:
            raise AssertionError(message)

        await app({"type": "http", "method": "POST", "path": SENDPULSE, "headers": []}, receive, send)

    asyncio.run(hang_up())
    assert store.kept == []


def test_too_many_are_put_off(store: MemoryStore) -> None:
    """So that a sender gone wild does not fill the disk; forgeries do not use up the allowance."""
    app = create_app(store, webhooks(), limits=Limits(deliveries_per_second=0.001), clock=fixed_clock(NOW))
    app._allowances["mailchimp", "marketing"] = Allowance(0.001, 2)
    for number in range(20):
        post(app, letters.mailchimp(number, unix=UNIX, secret="guess"))
    found = [post(app, letters.mailchimp(number, unix=UNIX)).status for number in range(4)]
    assert found == [200, 200, 429, 429]


def test_an_allowance_grows_back() -> None:
    """One a second, two at once."""
    now = [0.0]
    allowance = Allowance(1, 2, timer=lambda: now[0])
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    now[0] = 1.0
    assert [allowance.take() for _ in range(2)] == [True, False]


def test_what_logs_somebody_in_is_not_kept(app: Inbox, store: MemoryStore) -> None:
    """Neither passwords nor, where a proxy adds it, the address with the token."""
    headers = [
        ("Authorization", "Basic c2VjcmV0"), ("Cookie", "a=b"), ("Referer", SENDPULSE), ("X-Original-URI", SENDPULSE),
        ("User-Agent", "SendPulse"), ("X-Two", "1"), ("x-two", "2\0"),
    ]  # fmt: skip
    ask(app, "POST", SENDPULSE, b"[]", headers)
    assert store.kept[0].headers == {"user-agent": "SendPulse", "x-two": "1, 2"}


def test_no_secret_in_logs_or_reprs(app: Inbox, store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    """Refusals are told once per power of ten, without token, key, body or address."""
    caplog.set_level(logging.DEBUG)
    for number in range(25):
        post(app, letters.mailchimp(number, unix=UNIX, secret="guess"))
    post(app, letters.mailchimp(1, unix=UNIX))
    assert [record.message for record in caplog.records if "inbox" in record.message] == [
        "inbox: mailchimp/marketing refused with 401 (not signed as it should be), 1 so far",
        "inbox: mailchimp/marketing refused with 401 (not signed as it should be), 10 so far",
    ]
    shown = caplog.text + repr(store.kept) + repr(list(webhooks()))
    for secret in (letters.TOKEN, "mc-secret", "md-key", "application-token", "example.com&", "person1"):
        assert secret not in shown


def test_garbage_is_never_an_error_of_ours(app: Inbox) -> None:
    """Bodies of every kind to addresses of every kind of check. Seed 4."""
    addresses = [f"{webhook.account}/{webhook.kind}" for webhook in webhooks()]
    seen = set()
    for name, request in garbage(600, seed=4, addresses=addresses):
        head, _, body = request.partition(b"\r\n\r\n")
        line = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if name in {"no HTTP", "path", "bad chunks", "promised too much"} or len(line) != 3 or not line[1]:
            continue  # the server's business: see test_server.py
        status = ask(app, line[0], line[1], body).status
        assert status in {200, 400, 401, 404, 405, 413}, (name, status)
        seen.add(name)
    assert len(seen) > 15


def test_health_is_the_databases(app: Inbox, store: MemoryStore) -> None:
    """A load balancer must not send webhooks where they cannot be kept."""
    assert ask(app, "GET", "/health").status == 200
    store.is_down = True
    assert ask(app, "GET", "/health").status == 503


@pytest.mark.parametrize(
    ("before", "root"),
    [("/inbox", "/inbox"), ("/air/inbox", "/air/inbox"), ("/inbox", "/air/inbox"), ("", "/air/inbox"), ("", "")],
)
def test_mounted_below_a_path(app: Inbox, store: MemoryStore, before: str, root: str) -> None:
    """As in Airflow, whatever part of the way a proxy takes off: the address that is signed does not have it."""
    hook = letters.mandrill(1, unix=UNIX)
    answer = ask(app, "POST", before + hook.path, hook.body, hook.headers, root_path=root)
    assert (answer.status, len(store.kept)) == (200, 1)


def test_lifespan_and_websockets(app: Inbox, store: MemoryStore) -> None:
    """What waits is written before the process ends; a websocket is turned away."""

    async def live() -> list[str]:
        sent: list[str] = []
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> dict[str, Any]:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await app({"type": "lifespan"}, receive, send)
        await app({"type": "websocket", "path": "/"}, receive, send)
        return sent

    assert asyncio.run(live()) == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
    assert store.is_closed


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a database there is no inbox, and without accounts it knows no address."""
    monkeypatch.delenv("LETTERTRAIL_INBOX_DSN", raising=False)
    with pytest.raises(ConfigurationError, match="LETTERTRAIL_INBOX_DSN is not set"):
        create_app()
    monkeypatch.setenv("LETTERTRAIL_INBOX_DSN", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.delenv("LETTERTRAIL_INBOX_ACCOUNTS", raising=False)
    assert ask(create_app(), "POST", SENDPULSE, b"[]").status == 404
