"""Staying below the limits of a portal, and what happens when one is met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.bitrix.cloud_portal import ENTRIES, read, running
from tests.scripted_server import Reply, ScriptedServer, Seen

from lettertrail.bitrix.cloud_auth import Settings, Webhook
from lettertrail.bitrix.cloud_client import CloudClient, php_query
from lettertrail.bitrix.cloud_limits import OperatingBudget
from lettertrail.clock import system_clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ContractError,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps.port import AccountConnection
from lettertrail.sandbox.bitrix_methods.limits import Limits
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.throttle import LocalBucket, shared_throttle


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def client_of(server: ScriptedServer, time: Time, *, limit: float = 480.0) -> CloudClient:
    """A client of a scripted portal that waits on the test's clock."""
    client = CloudClient.connect(
        Webhook(f"{server.url}/rest/1/secret"), Settings(), clock=system_clock, allowed_hosts=[server.host]
    )
    client._api._sleep = time.sleep
    client._api._timer = time
    client._api._throttle._bucket = None
    client._budget = OperatingBudget(limit, sleep=time.sleep, timer=time)
    return client


def answer(result: Any, *, operating: float = 0.0, reset_in: float = 600.0, **more: Any) -> Reply:
    """A successful answer."""
    times = {"finish": 1_000.0, "operating_reset_at": 1_000.0 + reset_in, "operating": operating, "processing": 1.0}
    return Reply({"result": result, "time": times} | more)


def refusal(code: str, status: int) -> Reply:
    """An error answer."""
    return Reply({"error": code, "error_description": "told in some language"}, status)


# --- the bucket of requests


def test_the_bucket_is_kept_by_the_client_itself(bitrix_site_small: Site, tmp_path: Path) -> None:
    """With the limits of the cloud, and many more requests than the bucket holds, none is refused."""
    with running(bitrix_site_small.owner_dsn, tmp_path, limits=Limits(), application=None) as portal:
        client = portal.source()._pages._client
        time = Time()
        throttle = client._api._throttle
        # What the portal counts is real time; so is the throttle's, made fifty times as fast on both sides.
        throttle._bucket, throttle._sleep = LocalBucket(2.0, 50, timer=time), time.sleep
        portal._gate.monotonic = time
        for _ in range(120):
            client.call("server.time")
        assert portal.refusals == {}
        assert sum(time.slept) == pytest.approx((120 - 50) / 2.0, rel=0.1)


def test_the_enterprise_plan_has_a_larger_bucket() -> None:
    """Set in the connection; the name is the one the push-back client uses for the same portal."""
    settings = Settings.of(AccountConnection("bitrix24", extra={"plan": "enterprise"}))
    CloudClient.connect(Webhook("https://big.bitrix24.ru/rest/1/x"), settings, clock=system_clock)
    bucket = shared_throttle("bitrix big.bitrix24.ru")._bucket
    assert isinstance(bucket, LocalBucket)
    assert (bucket._rate, bucket._burst) == (5.0, 250.0)
    CloudClient.connect(Webhook("https://small.bitrix24.ru/rest/1/x"), Settings(), clock=system_clock)
    bucket = shared_throttle("bitrix small.bitrix24.ru")._bucket
    assert isinstance(bucket, LocalBucket)
    assert (bucket._rate, bucket._burst) == (2.0, 50.0)


def test_too_many_requests_are_repeated_with_growing_delay() -> None:
    """Somebody else on the same address used the bucket."""
    time = Time()
    with ScriptedServer([refusal("QUERY_LIMIT_EXCEEDED", 503)] * 4 + [answer("now")]) as server:
        assert client_of(server, time).call("server.time").result == "now"
        assert len(server.seen) == 5
    assert len(time.slept) == 4
    assert all(later > earlier for earlier, later in zip(time.slept, time.slept[2:], strict=False))


def test_an_overloaded_portal_is_left_alone_in_the_end() -> None:
    """The task fails as one to be repeated."""
    time = Time()
    with ScriptedServer([refusal("OVERLOAD_LIMIT", 503)]) as server, pytest.raises(RateLimited):
        client_of(server, time).call("server.time")
    assert sum(time.slept) < 700


# --- run time per method


def test_a_method_near_its_limit_is_slowed_down_before_it_is_blocked() -> None:
    """Waits for the oldest minute to be forgotten; the other method does not wait."""
    time = Time()
    with ScriptedServer(lambda seen: answer(1, operating=405.0, reset_in=90.0)) as server:
        client = client_of(server, time)
        client.call("crm.item.list")
        client.call("crm.item.list")
        assert time.slept == []
        client._budget.note("crm.item.list", {"operating": 407.5, "operating_reset_at": 1_090.0, "finish": 1_000.0})
        client.call("crm.item.list")
        assert time.slept == [pytest.approx(91.0)]
        client.call("user.get")
        assert len(time.slept) == 1


def test_a_batch_has_no_more_commands_than_run_time_is_left_for() -> None:
    """Ten seconds left, two a command: five."""
    budget = OperatingBudget(480.0, sleep=lambda _: None, timer=lambda: 0.0)
    for operating in (392.0, 394.0, 396.0, 398.0):
        budget.note("crm.item.list", {"operating": operating, "processing": 2.0})
    assert budget.affordable("crm.item.list", 50) == pytest.approx(5, abs=1)
    assert budget.affordable("user.get", 50) == 50


def test_a_blocked_method_waits_until_its_reset_and_goes_on() -> None:
    """What the last answer said counts."""
    time = Time()
    script = [answer(1, operating=10.0, reset_in=240.0), refusal("OPERATION_TIME_LIMIT", 429), answer(2)]
    with ScriptedServer(script) as server:
        client = client_of(server, time)
        client.call("crm.item.list")
        assert client.call("crm.item.list").result == 2
    assert time.slept == [pytest.approx(241.0)]


def test_a_method_that_stays_blocked_is_given_up() -> None:
    """As one to be tried again later."""
    time = Time()
    with ScriptedServer([refusal("OPERATION_TIME_LIMIT", 429)]) as server, pytest.raises(RateLimited):
        client_of(server, time).call("crm.item.list")
    assert 600 <= sum(time.slept) <= 1_200


def test_commands_of_a_batch_that_ran_out_of_time_are_sent_again(bitrix_site_small: Site, tmp_path: Path) -> None:
    """A whole list of contacts with hardly any run time: all of them, each once."""
    limits = Limits(burst=100_000, operating_seconds=6.0, seconds_per_call=1.0)
    with running(bitrix_site_small.owner_dsn, tmp_path, limits=limits, application=None) as portal:
        source = portal.source()
        client = source._pages._client
        time = Time()
        portal._gate.monotonic = time
        # The client believes in a limit of 480 seconds, the portal has one of six.
        client._budget = OperatingBudget(480.0, sleep=time.sleep, timer=time)
        rows = read(source, ENTRIES["b_crm_contact"])
        assert portal.refusals["OPERATION_TIME_LIMIT"] > 0
        assert [row["id"] for row in rows] == [
            row["id"] for row in portal.rows("select ID from b_crm_contact order by ID")
        ]
        assert time.slept != []


def test_a_client_that_knows_the_limit_is_never_blocked(bitrix_site_small: Site, tmp_path: Path) -> None:
    """The figures in the answers are enough."""
    limits = Limits(burst=100_000, operating_seconds=10.0, seconds_per_call=1.0)
    with running(bitrix_site_small.owner_dsn, tmp_path, limits=limits, application=None) as portal:
        source = portal.source()
        time = Time()
        portal._gate.monotonic = time
        source._pages._client._budget = OperatingBudget(10.0, sleep=time.sleep, timer=time)
        assert len(read(source, ENTRIES["b_crm_contact"])) == portal.one("select count(*) from b_crm_contact")
        assert portal.refusals == {}


def test_slow_batches_get_smaller_and_grow_again() -> None:
    """The portal cuts a request off after a minute."""
    time = Time()

    def slow(seen: Seen) -> Reply:
        keys = list(seen.body["cmd"])
        times = {"duration": 1.0 * len(keys)}
        return Reply({"result": {"result": {key: [] for key in keys}, "result_error": []}, "time": times})

    with ScriptedServer(slow) as server:
        client = client_of(server, time)
        commands: dict[str, Any] = {f"c{number}": ("crm.item.list", {}) for number in range(50)}
        client.batch(commands)
        assert client.reach("crm.item.list", 50) == 20
        client.batch({key: commands[key] for key in list(commands)[:20]})
        assert client.reach("crm.item.list", 50) == 40


# --- other errors


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal("NO_AUTH_FOUND", 401), AuthenticationError),
        (refusal("expired_token", 401), AuthenticationError),
        (refusal("ACCESS_DENIED", 403), AuthenticationError),
        (refusal("insufficient_scope", 403), RequestRejected),
        (refusal("ERROR_METHOD_NOT_FOUND", 404), RequestRejected),
        (refusal("", 400), RequestRejected),
        (refusal("PORTAL_DELETED", 500), RequestRejected),
        (refusal("INTERNAL_SERVER_ERROR", 500), TemporaryApiError),
        (Reply("<html>504</html>", 504), TemporaryApiError),
        (Reply({"time": {}}), ContractError),
    ],
)
def test_errors_by_code(reply: Reply, kind: type[Exception]) -> None:
    """Never by the text, which is in the portal's language."""
    with ScriptedServer([reply]) as server, pytest.raises(kind) as raised:
        client_of(server, Time()).call("crm.item.list")
    assert "secret" not in str(raised.value)
    assert "some language" not in str(raised.value)


def test_a_failed_command_fails_the_reading() -> None:
    """HTTP 200 says nothing of the commands in a batch."""
    failed = {"result": [], "result_error": {"id": {"error": "INTERNAL_SERVER_ERROR", "error_description": "x"}}}
    with ScriptedServer([Reply({"result": failed, "time": {}})]) as server:
        batch = client_of(server, Time()).batch({"id": ("crm.item.list", {}), "b": ("user.get", {})})
    assert {key: type(error) for key, error in batch.errors.items()} == {
        "id": TemporaryApiError,
        "b": TemporaryApiError,
    }
    assert all(isinstance(error, ApiError) for error in batch.errors.values())


def test_parameters_are_written_as_php_reads_them() -> None:
    """Nested, percent-encoded; names of earlier results too."""
    assert php_query({"filter": {">ID": "$result[p0][49][ID]", "@ID": [1, 2]}, "start": -1}) == (
        "filter[%3EID]=%24result%5Bp0%5D%5B49%5D%5BID%5D&filter[%40ID][]=1&filter[%40ID][]=2&start=-1"
    )


def test_a_list_that_ignores_its_filter_is_noticed(bitrix_site_small: Site, tmp_path: Path) -> None:
    """Rows would come twice, and others never."""
    with running(bitrix_site_small.owner_dsn, tmp_path, application=None) as portal:
        source: Any = portal.source()
        client = source._pages._client
        batch = client.batch

        def without_filter(commands: Any, **how: Any) -> Any:
            return batch({key: (name, {**params, "filter": {}}) for key, (name, params) in commands.items()}, **how)

        client.batch = without_filter
        with pytest.raises(ContractError, match=r"crm\.item\.list does not keep to its filter"):
            read(source, ENTRIES["b_crm_contact"])
