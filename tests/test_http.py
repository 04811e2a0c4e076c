"""The HTTP client against a real local server: where it goes, what it repeats, what it tells."""

from __future__ import annotations

import logging
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.scripted_server import Reply, ScriptedServer

from lettertrail.clock import fixed_clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    Duplicate,
    NotFound,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.http import Answer, BasicAuth, BearerAuth, Call, RestClient, RetryPolicy
from lettertrail.throttle import Throttle, shared_throttle

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
OK = Reply({"fine": True})


class FakeTime:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def timer(self) -> float:
        return self.now


@pytest.fixture
def time() -> FakeTime:
    """Time that the test can look at."""
    return FakeTime()


def speaking(*script: Reply) -> ScriptedServer:
    return ScriptedServer(script)


def client(server: ScriptedServer, time: FakeTime | None = None, **how: Any) -> RestClient:
    time = time or FakeTime()
    return RestClient(
        how.pop("base_url", server.url),
        service="letterbox",
        allowed_hosts=how.pop("allowed_hosts", [server.host]),
        sleep=time.sleep,
        timer=time.timer,
        jitter=how.pop("jitter", lambda: 1.0),
        clock=fixed_clock(NOW),
        **how,
    )


# What is sent and what comes back


def test_sends_query_and_body_and_returns_the_json() -> None:
    """Parameters, JSON in UTF-8 and placeholders arrive as meant."""
    with speaking(Reply({"n": 1}), Reply(status=204)) as server:
        api = client(server)
        assert api.get("/lists/{list}", fill={"list": "a/b"}, params={"since": "2026-01-01T00:00:00+00:00"}) == {"n": 1}
        assert api.post("/lists", json={"name": "Подписчики"}) is None
        read, written = server.seen
        assert (read.method, read.path, read.one("since")) == ("GET", "/lists/a%2Fb", "2026-01-01T00:00:00+00:00")
        assert written.body == {"name": "Подписчики"}


@pytest.mark.parametrize(
    ("auth", "header"),
    [(BasicAuth("any", "key"), "Basic YW55OmtleQ=="), (BearerAuth("token"), "Bearer token"), (None, None)],
)
def test_signs_with_the_auth_it_was_given(
    auth: BasicAuth | BearerAuth | None, header: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Auth is a value; a ~/.netrc is not asked. (127.1 is this machine under a name that is not known as loopback.)"""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("NO_PROXY", "*")
    with speaking(OK) as server:
        base_url = server.url.replace("127.0.0.1", "127.1")
        client(server, auth=auth, base_url=base_url, allowed_hosts=["127.1"]).get("/")
        assert server.seen[0].headers.get("Authorization") == header


# Where it may go


@pytest.mark.parametrize(
    ("base_url", "hosts", "allowed_hosts"),
    [
        ("https://evil.example", ("*.api.mailchimp.com",), ()),
        ("https://api.mailchimp.com.evil.example", ("*.api.mailchimp.com",), ()),
        ("http://us1.api.mailchimp.com", ("*.api.mailchimp.com",), ()),
        ("http://127.0.0.1:8080", (), ("127.0.0.1:9090",)),
        ("http://169.254.169.254", ("*.api.mailchimp.com",), ("127.0.0.1",)),
    ],
)
def test_refuses_a_host_nobody_allowed(base_url: str, hosts: tuple[str, ...], allowed_hosts: tuple[str, ...]) -> None:
    """A declared host needs https; any other needs the operator's word, and the error says where to give it."""
    with pytest.raises(ConfigurationError, match="LETTERTRAIL_ALLOWED_HOSTS"):
        RestClient(base_url, service="letterbox", hosts=hosts, allowed_hosts=allowed_hosts)


@pytest.mark.parametrize("base_url", ["https://user:pw@mail.example", "ftp://mail.example", "mail.example", "http://["])
def test_refuses_an_address_that_is_no_plain_url(base_url: str) -> None:
    """A password in the URL would end in logs of everybody on the way."""
    with pytest.raises(ConfigurationError) as caught:
        RestClient(base_url, service="letterbox", allowed_hosts=["*"])
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "hosts", "allowed_hosts"),
    [
        ("https://us1.api.mailchimp.com/3.0", ("*.api.mailchimp.com",), ()),
        ("https://US1.API.mailchimp.com/3.0", ("*.api.mailchimp.com",), ()),
        ("http://sandbox:8080/3.0", (), ("sandbox",)),
        ("http://127.0.0.1:8080/3.0", (), ("127.0.0.1:8080",)),
    ],
)
def test_goes_where_it_was_allowed(base_url: str, hosts: tuple[str, ...], allowed_hosts: tuple[str, ...]) -> None:
    """Patterns match the host; a port counts when it is named."""
    RestClient(base_url, service="letterbox", hosts=hosts, allowed_hosts=allowed_hosts)


def test_follows_a_read_within_the_origin() -> None:
    """A moved page on the same host is still the same service."""
    with speaking(Reply(status=302, headers={"Location": "/moved"}), OK) as server:
        assert client(server).get("/here") == {"fine": True}
        assert [seen.path for seen in server.seen] == ["/here", "/moved"]


def test_never_takes_its_key_to_another_host() -> None:
    """A redirect elsewhere is refused and the other host is not even asked."""
    with speaking(OK) as other, speaking(Reply(status=302, headers={"Location": other.url})) as server:
        with pytest.raises(RequestRejected, match="redirected"):
            client(server, auth=BearerAuth("token")).get("/here")
        assert other.seen == []


def test_does_not_repeat_a_write_at_a_redirect() -> None:
    """A redirected write might be turned into a read; it is refused."""
    with speaking(Reply(status=307, headers={"Location": "/moved"})) as server:
        with pytest.raises(RequestRejected, match="redirected"):
            client(server).post("/here", json={}, idempotent=True)
        assert len(server.seen) == 1


def test_a_circle_of_redirects_ends() -> None:
    """Going round and round is given up."""
    with speaking(Reply(status=302, headers={"Location": "/again"})) as server, pytest.raises(RequestRejected):
        client(server).get("/here")


# What an answer means


@pytest.mark.parametrize("body", [None, {"title": "x"}, "<html>"])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RequestRejected),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, NotFound),
        (409, Duplicate),
        (422, RequestRejected),
        (429, RateLimited),
        (500, TemporaryApiError),
        (502, TemporaryApiError),
        (503, RateLimited),
        (504, TemporaryApiError),
    ],
)
def test_judges_by_the_status_with_or_without_a_body(status: int, error: type[ApiError], body: Any) -> None:
    """Some refusals come without a JSON body, so the status alone must do."""
    with speaking(Reply(body, status=status)) as server, pytest.raises(error) as caught:
        client(server, retry=RetryPolicy(attempts=1)).get("/")
    assert type(caught.value) is error
    assert caught.value.status == status


def test_a_classifier_sees_status_headers_and_body() -> None:
    """Services that answer 200 with an error inside are judged by their own hook."""
    judged: list[Answer] = []

    def classify(answer: Answer) -> ApiError | None:
        judged.append(answer)
        broken = isinstance(answer.body, dict) and "error" in answer.body
        return RequestRejected(answer.service, "refused", code=answer.body["error"]) if broken else None

    with speaking(
        Reply({"error": "retry_later"}, headers={"X-Request": "7"}), Reply("plain words", status=400)
    ) as server:
        api = client(server, classify=classify)
        with pytest.raises(RequestRejected) as caught:
            api.get("/")
        assert caught.value.code == "retry_later"
        with pytest.raises(RequestRejected):
            api.get("/")
    assert judged[0].headers["X-Request"] == "7"
    assert judged[1].body == "plain words"


@pytest.mark.parametrize(
    "broken",
    [
        Reply(b'{"members": [{"id"'),
        Reply({"members": list(range(500))}, cut=True),
        Reply("<html>come back later</html>", headers={"Content-Type": "text/html"}),
        Reply(drop=True),
        Reply(OK.body, delay=0.4),
    ],
    ids=["truncated", "cut", "html", "dropped", "slow"],
)
def test_a_broken_answer_is_temporary(broken: Reply, time: FakeTime) -> None:
    """Half a JSON, a cut connection and a time-out are the same thing: ask again."""
    with speaking(broken, OK) as server:
        assert client(server, time, timeouts=(1.0, 0.15)).get("/") == {"fine": True}
        assert len(server.seen) == 2
    with speaking(broken) as server, pytest.raises(TemporaryApiError):
        client(server, timeouts=(1.0, 0.15), retry=RetryPolicy(attempts=1)).get("/")


def test_a_key_that_cannot_be_a_header_is_a_configuration_error() -> None:
    """A line break pasted with the key is named without the key."""
    with speaking(OK) as server, pytest.raises(ConfigurationError) as caught:
        client(server, auth=BearerAuth("se\ncret")).get("/")
    assert "cret" not in str(caught.value)


# What is repeated


def test_waits_longer_each_time_and_stops_after_the_attempts(time: FakeTime) -> None:
    """Exponential, capped in attempts, and the last error comes out."""
    with speaking(Reply(status=500)) as server:
        api = client(server, time, retry=RetryPolicy(attempts=5, longest_wait=5.0))
        with pytest.raises(TemporaryApiError):
            api.get("/")
        assert len(server.seen) == 5
    assert time.slept == [1.0, 2.0, 4.0, 5.0]


def test_jitter_takes_up_to_half_off(time: FakeTime) -> None:
    """Clients that failed together do not come back together."""
    with speaking(Reply(status=500), OK) as server:
        client(server, time, jitter=lambda: 0.0).get("/")
    assert time.slept == [0.5]


def test_stops_when_the_time_is_up(time: FakeTime) -> None:
    """The budget counts the waiting to come: nobody waits only to find that it is too late."""
    with speaking(Reply(status=429, headers={"Retry-After": "40"})) as server:
        with pytest.raises(RateLimited) as caught:
            client(server, time, retry=RetryPolicy(attempts=10, budget=100.0)).get("/")
        assert len(server.seen) == 3
    assert caught.value.retry_after == 40.0
    assert time.slept == [40.0, 40.0]


@pytest.mark.parametrize(
    ("header", "waits"),
    [("7", 7.0), ("Sun, 01 Nov 2026 12:00:30 GMT", 30.0), ("Sun, 01 Nov 2020 12:00:30 GMT", 0.0), ("soon", 1.0)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_honours_retry_after(time: FakeTime, status: int, header: str, waits: float) -> None:
    """As seconds or as a date; nonsense falls back to our own waiting."""
    with speaking(Reply(status=status, headers={"Retry-After": header}), OK) as server:
        client(server, time).get("/")
    assert time.slept == [waits]


def test_honours_retry_after_behind_a_classifier(time: FakeTime) -> None:
    """A service's own word for being throttled does not lose the header."""
    throttled = Reply({"error": "slow"}, status=400, headers={"Retry-After": "9"})
    with speaking(throttled, OK) as server:
        client(
            server, time, classify=lambda answer: RateLimited("letterbox", "slow") if answer.status == 400 else None
        ).get("/")
    assert time.slept == [9.0]


@pytest.mark.parametrize("failure", [Reply(status=500), Reply(status=503), Reply(drop=True), Reply(b'{"half')])
def test_a_write_is_sent_once_unless_it_is_idempotent(failure: Reply, time: FakeTime) -> None:
    """It may have been carried out before the answer was lost."""
    with speaking(failure, OK) as server:
        with pytest.raises(ApiError):
            client(server, time).post("/segments", json={})
        assert len(server.seen) == 1
    with speaking(failure, OK) as server:
        assert client(server, time).post("/segments", json={}, idempotent=True) == {"fine": True}
        assert len(server.seen) == 2


def test_a_throttled_write_was_not_carried_out_and_is_sent_again(time: FakeTime) -> None:
    """429 says so; waiting is safe for every write."""
    with speaking(Reply(status=429), OK) as server:
        assert client(server, time).post("/segments", json={}) == {"fine": True}


def test_a_refusal_is_never_repeated(time: FakeTime) -> None:
    """A wrong key stays wrong."""
    with speaking(Reply(status=401)) as server:
        with pytest.raises(AuthenticationError):
            client(server, time).get("/")
        assert len(server.seen) == 1
    assert time.slept == []


def test_counts_every_write_that_went_over_the_wire(time: FakeTime) -> None:
    """Attempts are calls, reads are not, and asking empties the list."""
    with speaking(Reply(status=500), Reply(drop=True), OK) as server:
        api = client(server, time)
        api.post("/lists/7/{member}", fill={"member": "x"}, json={}, idempotent=True, records=3)
        api.get("/lists")
        api.post("/search", json={}, write=False)
        path = "/lists/7/{member}"
        assert api.drain_calls() == [
            Call("POST", path, 500, 3),
            Call("POST", path, None, 3),
            Call("POST", path, 200, 3),
        ]
        assert api.drain_calls() == []


# What is told


@pytest.mark.parametrize(
    "script",
    [
        [OK],
        [Reply(status=500), OK],
        [Reply(drop=True)],
        [Reply(status=401)],
        [Reply({"who": "anna@example.com"}, status=400)],
    ],
    ids=["fine", "retried", "dropped", "refused", "rejected"],
)
def test_no_secret_and_no_address_is_told(
    script: list[Reply], caplog: pytest.LogCaptureFixture, time: FakeTime
) -> None:
    """Not in a log at any level of any library, not in an error with its traceback, not in the calls."""
    caplog.set_level(logging.DEBUG)
    told = ""
    with speaking(*script) as server:
        api = client(
            server,
            time,
            base_url=f"{server.url}/rest/1/s3cr3t",
            auth=BasicAuth("me", "k3y"),
            retry=RetryPolicy(attempts=2),
        )
        try:
            api.post(
                "/members/{member}/anna@example.com",
                fill={"member": "anna@example.com"},
                params={"api_key": "qu3ry", "email": "anna@example.com"},
                json={"email": "anna@example.com"},
                idempotent=True,
            )
        except ApiError as error:
            told = "".join(traceback.format_exception(error))
        told += repr(api) + repr(api.drain_calls()) + caplog.text
    assert "letterbox" in caplog.text
    assert not [secret for secret in ("s3cr3t", "k3y", "qu3ry", "anna", "bWU6") if secret in told]


# How often


def test_the_bucket_lets_a_burst_through_and_then_the_rate(time: FakeTime) -> None:
    """Two a second after the first three, and idle time fills it up again."""
    throttle = Throttle(rate=2.0, burst=3, sleep=time.sleep, timer=time.timer)
    for _ in range(5):
        with throttle.slot():
            pass
    assert time.slept == [0.5, 0.5]
    time.now += 100
    for _ in range(3):
        with throttle.slot():
            pass
    assert time.slept == [0.5, 0.5]


def test_never_more_at_once_than_allowed() -> None:
    """Eight threads, two connections."""
    with speaking(Reply({}, delay=0.03)) as server:
        api = client(server, throttle=Throttle(max_concurrency=2))
        threads = [threading.Thread(target=api.get, args=("/",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.seen) == 8
        assert server.most_at_once == 2


def test_a_shared_throttle_is_one_per_name() -> None:
    """Two clients of one portal draw from one bucket."""
    assert shared_throttle("portal a", rate=2.0, burst=50) is shared_throttle("portal a", rate=2.0, burst=50)
    assert shared_throttle("portal a") is not shared_throttle("portal b")
