"""One Bitrix24 portal over REST: calls, batches, errors, and staying below its limits.

Limits: the bucket of requests (2 a second, 50 at once; 5 and 250 on the Enterprise plan) is kept by the portal's shared
throttle, a batch counting once; the run time per method by `OperatingBudget`. QUERY_LIMIT_EXCEEDED is retried with
growing delay, OPERATION_TIME_LIMIT after the reset and only for that method. A request may run for 60 seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from lettertrail.bitrix.cloud_auth import OAUTH_HOSTS, SERVICE, Entrance, Settings
from lettertrail.bitrix.cloud_limits import OperatingBudget
from lettertrail.bitrix.rest import BitrixRest
from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ContractError,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.http import Answer, RestClient, RetryPolicy
from lettertrail.throttle import shared_throttle

BATCH = 50
SLOW_SECONDS = 20.0
"""A batch that ran longer is made smaller: the portal cuts a request off after 60."""
RESETS = 12
"""How often to wait for run time within one call: the ten minutes are over after ten."""

_TIMEOUTS = (10.0, 70.0)
_THROTTLED = frozenset({"QUERY_LIMIT_EXCEEDED", "OVERLOAD_LIMIT"})
_UNAUTHORISED = frozenset(
    {
        "NO_AUTH_FOUND",
        "expired_token",
        "invalid_token",
        "INVALID_CREDENTIALS",
        "ACCESS_DENIED",
        "user_access_error",
        "200040300010",  # no read access to the shop
    }
)
OUT_OF_TIME = "OPERATION_TIME_LIMIT"
NOT_GIVEN = frozenset({"insufficient_scope", "ERROR_METHOD_NOT_FOUND"})
"""Codes that mean: the key was made without this part, or the portal does not have it."""

Params = Mapping[str, Any]
Command = tuple[str, Params]
"""A method and its parameters."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a method gave back. `total` is None unless the list was counted."""

    result: Any
    total: int | None = None
    next: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What the commands of a batch gave back, by their key; a failed one has an error instead of a reply."""

    replies: Mapping[str, Reply]
    errors: Mapping[str, ApiError]
    seconds: float
    """How long the portal worked on it."""


class CloudClient:
    """Calls methods of one portal."""

    def __init__(self, api: RestClient, entrance: Entrance, budget: OperatingBudget) -> None:
        self._api = api
        self._entrance = entrance
        self._budget = budget
        self._longest = BATCH

    @classmethod
    def connect(
        cls, entrance: Entrance, settings: Settings, *, clock: Clock, allowed_hosts: Sequence[str] = ()
    ) -> CloudClient:
        """A client for the portal behind an entrance.

        Raises:
            ConfigurationError: the portal's host is not permitted.
        """
        rate, burst = (5.0, 250) if settings.is_enterprise else (2.0, 50)
        throttle = shared_throttle(
            # The name BitrixRest uses: the portal counts all of us together.
            f"{SERVICE} {urlsplit(entrance.base_url).netloc}", max_concurrency=2, rate=rate, burst=burst,
        )  # fmt: skip
        api = RestClient(
            entrance.base_url,
            service=SERVICE,
            hosts=(*BitrixRest.hosts, *OAUTH_HOSTS),
            allowed_hosts=allowed_hosts,
            classify=judge,
            throttle=throttle,
            retry=RetryPolicy(attempts=8, budget=600.0),
            timeouts=_TIMEOUTS,
            clock=clock,
        )
        return cls(api, entrance, OperatingBudget(settings.operating_seconds))

    @property
    def is_application(self) -> bool:
        """Whether offline events may be asked for."""
        return self._entrance.is_application

    def call(self, method: str, params: Params | None = None, *, write: bool = False) -> Reply:
        """Calls one method. `write` marks one that changes something; it must bear being repeated.

        Raises:
            ApiError: it was refused or failed.
            ContractError: the answer has no result.
        """
        for _ in range(RESETS):
            self._budget.affordable(method, 1)
            try:
                answer = self._send(method, params or {}, write=write)
            except RequestRejected as error:
                if error.code != OUT_OF_TIME:
                    raise
                self._budget.wait_for_reset(method)
                continue
            self._budget.note(method, answer.get("time"))
            return Reply(answer["result"], _whole(answer.get("total")), _whole(answer.get("next")))
        raise RateLimited(SERVICE, f"{method} got no run time for too long", code=OUT_OF_TIME)

    def reach(self, method: str, wanted: int) -> int:
        """How many commands of a method a batch should have, by the run time left and the last batches' slowness."""
        return self._budget.affordable(method, max(1, min(wanted, self._longest)))

    def batch(self, commands: Mapping[str, Command], *, write: bool = False) -> Batch:
        """Sends up to 50 commands at once; later ones may refer to earlier ones (`$result[key][field]`).

        Commands that ran out of run time are sent again after the reset.
        """
        replies: dict[str, Reply] = {}
        errors: dict[str, ApiError] = {}
        seconds = 0.0
        left = dict(commands)
        for _ in range(RESETS):
            cmd = {key: f"{method}?{php_query(params)}" for key, (method, params) in left.items()}
            answer = self._send("batch", {"halt": 0, "cmd": cmd}, write=write)
            seconds += self._learn(answer, left)
            done, failed = _part(answer, "result"), _part(answer, "result_error")
            totals, nexts = _part(answer, "result_total"), _part(answer, "result_next")
            for key in left:
                if key in done:
                    replies[key] = Reply(done[key], _whole(totals.get(key)), _whole(nexts.get(key)))
                else:
                    errors[key] = judge(Answer(SERVICE, 200, {}, failed.get(key))) or _no_answer(left[key][0])
            late = {key for key in left if key in errors and errors[key].code == OUT_OF_TIME}
            if not late:
                return Batch(replies, errors, seconds)
            if any("$result" in str(params) for _, params in left.values()):
                # What refers to a command that failed has to go with it; the caller begins again.
                self._budget.wait_for_reset(left[min(late)][0])
                return Batch(replies, errors, seconds)
            for method in {left[key][0] for key in late}:
                self._budget.wait_for_reset(method)
            left = {key: left[key] for key in left if key in late}
            for key in late:
                del errors[key]
        return Batch(replies, errors | {key: _out_of_time(left[key][0]) for key in left}, seconds)

    def _learn(self, answer: Mapping[str, Any], commands: Mapping[str, Command]) -> float:
        times = _part(answer, "result_time")
        for key, (method, _) in commands.items():
            self._budget.note(method, times.get(key))
        block = answer.get("time")
        seconds = float(block.get("duration") or 0.0) if isinstance(block, Mapping) else 0.0
        if seconds > SLOW_SECONDS:
            self._longest = max(1, int(len(commands) * SLOW_SECONDS / seconds))
        elif len(commands) >= self._longest:
            self._longest = min(BATCH, self._longest * 2)
        return seconds

    def _send(self, method: str, params: Params, *, write: bool) -> Mapping[str, Any]:
        """One request, with a fresh access token when the old one has just expired."""
        token = self._entrance.token()
        try:
            return self._post(method, params, token, write=write)
        except AuthenticationError as error:
            if token is None or error.code not in ("expired_token", "invalid_token"):
                raise
        self._entrance.renew(token)
        return self._post(method, params, self._entrance.token(), write=write)

    def _post(self, method: str, params: Params, token: str | None, *, write: bool) -> Mapping[str, Any]:
        body = dict(params) if token is None else {**params, "auth": token}
        answer = self._api.post(f"/{method}", json=body, write=write, idempotent=True)
        if not isinstance(answer, Mapping) or "result" not in answer:
            raise ContractError(f"bitrix: the answer to {method} has no result")
        return answer


def judge(answer: Answer) -> ApiError | None:  # noqa: PLR0911  # one return an error
    """Which of our errors an answer is, by its code where it has one. Older methods send an empty code."""
    if not isinstance(answer.body, Mapping) or "error" not in answer.body:
        return None
    text = str(answer.body["error"])
    code = text if re.fullmatch(r"\w+", text) else None
    told, service, status = code or "without a code", answer.service, answer.status
    if code == OUT_OF_TIME:
        return RequestRejected(service, "the method used up its run time", status=status, code=code)
    if code in NOT_GIVEN:
        return RequestRejected(service, f"the method is not given to this caller ({told})", status=status, code=code)
    if code in _THROTTLED or status in (429, 503):
        return RateLimited(service, f"too many requests: {told}", status=status, code=code)
    if code in _UNAUTHORISED or status == 401:
        return AuthenticationError(
            service, f"the key was refused ({told}); renew it in the connection", status=status, code=code
        )
    if (status >= 500 and code != "PORTAL_DELETED") or code in ("INTERNAL_SERVER_ERROR", "ERROR_UNEXPECTED_ANSWER"):
        return TemporaryApiError(service, f"the portal failed: {told}", status=status, code=code)
    return RequestRejected(service, f"the request was refused: {told}", status=status, code=code)


def php_query(params: Params) -> str:
    """Nested parameters as PHP reads them from a query: `filter[>ID]=5&select[]=ID`, percent-encoded."""
    return "&".join(f"{quote(key, safe='[]')}={quote(text, safe='')}" for key, text in _flat(params, ""))


def _flat(value: Any, key: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for name, item in value.items() for pair in _flat(item, f"{key}[{name}]" if key else str(name))]
    if isinstance(value, list | tuple):
        return [pair for item in value for pair in _flat(item, f"{key}[]")]
    return [(key, str(value))]


def _part(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a batch's answer; PHP writes an empty object as a list."""
    part = answer["result"].get(name) if isinstance(answer["result"], Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _no_answer(method: str) -> ApiError:
    return TemporaryApiError(SERVICE, f"a batch did not answer its command {method}")


def _out_of_time(method: str) -> ApiError:
    return RateLimited(SERVICE, f"{method} got no run time for too long", code=OUT_OF_TIME)
