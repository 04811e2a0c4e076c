"""The only module that speaks HTTP outwards.

A `RestClient` is given its address, its key and its limits as values and answers with parsed JSON or one of
our errors, so that an adapter never sees a status code, a retry or a header. What every call gets:

- *Where it may go*: only hosts the adapter declares (https) or LETTERTRAIL_ALLOWED_HOSTS names; a redirect is
  followed for reads on the same origin only.
- *What is told about it*: service, method, path template, status, duration. The base URL (Bitrix keeps its
  secret there), the query, `{placeholders}` and bodies never reach a log or an error text, at any level.
- *When it is repeated*: reads, and writes declared idempotent, after anything that may pass; every request
  after 429, which means it was not carried out. Attempts and total time are capped; Retry-After is honoured.
"""

from __future__ import annotations

import base64
import fnmatch
import json as jsonlib
import logging
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

import requests
import tenacity
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

from lettertrail.clock import Clock, system_clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ContractError,
    Duplicate,
    LetterTrailError,
    NotFound,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
    Unreachable,
)
from lettertrail.throttle import Throttle

log = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_REDIRECTS = 3
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class _NoUrls(logging.Filter):
    """urllib3 prints whole paths and queries, and a Bitrix secret is part of a path."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False


for _name in ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.poolmanager"):
    logging.getLogger(_name).addFilter(_NoUrls())


class Auth(Protocol):
    """A way to sign a request."""

    def headers(self) -> dict[str, str]:
        """The headers to add to every request."""
        ...


@runtime_checkable
class Renewable(Protocol):
    """An `Auth` whose token runs out. After a 401 it is renewed once and the request repeated."""

    def renew(self) -> None:
        """Fetches a new token; raises AuthenticationError when the credentials are refused."""
        ...


@dataclass(frozen=True, slots=True)
class HeaderAuth:
    """A key in a header of its own."""

    name: str
    key: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """That header."""
        return {self.name: self.key}


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """User name and password, or a key in the place of the password."""

    user: str
    password: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """The Authorization header."""
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {token}"}


@dataclass(frozen=True, slots=True)
class BearerAuth:
    """A token that is sent as it is."""

    token: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """The Authorization header."""
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a classifier judges: `body` is parsed JSON where it could be parsed, the text otherwise."""

    service: str
    status: int
    headers: Mapping[str, str]
    body: Any = field(repr=False)


Classifier = Callable[[Answer], ApiError | None]
"""Says which of our errors an answer is, also behind a 200; None leaves it to the status code."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to try. `budget` caps the time from the first attempt to the start of the last, in seconds."""

    attempts: int = 6
    budget: float = 300.0
    first_wait: float = 1.0
    longest_wait: float = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """One write that went over the wire. `status` is None when no answer came."""

    method: str
    path: str
    status: int | None
    records: int


@dataclass(frozen=True, slots=True)
class OffsetPaging:
    """How a service pages by offset.

    `overlap` rows of each page are asked for again with the next one: when rows leave the part already
    read, the rest moves to the left, and without an overlap some would never be seen.
    """

    size: int = 1000
    size_param: str = "count"
    offset_param: str = "offset"
    first: int = 0
    total_field: str | None = "total_items"
    overlap: int = 10


class RestClient:
    """A JSON client for one account of one service."""

    def __init__(
        self,
        base_url: str,
        *,
        service: str,
        auth: Auth | None = None,
        hosts: Sequence[str] = (),
        allowed_hosts: Sequence[str] = (),
        classify: Classifier | None = None,
        throttle: Throttle | None = None,
        retry: RetryPolicy | None = None,
        timeouts: tuple[float, float] = (10.0, 60.0),
        sleep: Callable[[float], None] = time.sleep,
        timer: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        clock: Clock = system_clock,
    ) -> None:
        """`hosts` are the adapter's patterns, `allowed_hosts` the operator's; `timeouts` are (connect, read).

        Raises:
            ConfigurationError: the host of `base_url` is in neither list.
        """
        self.service = service
        self._base_url = base_url.rstrip("/")
        self._hosts, self._allowed_hosts = tuple(hosts), tuple(allowed_hosts)
        self._origin = _permitted(self._base_url, service=service, hosts=hosts, allowed_hosts=allowed_hosts)
        self._auth = auth
        self._classify = classify
        self._throttle = throttle or Throttle(sleep=sleep, timer=timer)
        self._retry = retry or RetryPolicy()
        self._timeouts = timeouts
        self._sleep = sleep
        self._timer = timer
        self._jitter = jitter
        self._clock = clock
        self._calls: list[Call] = []
        self._session = _session(trust_env=self._origin.hostname not in _LOOPBACK)

    def __repr__(self) -> str:
        return f"RestClient({self.service}, {self._origin.hostname})"

    def get(self, path: str, *, fill: Mapping[str, str] | None = None, params: Mapping[str, Any] | None = None) -> Any:
        """Reads; see `request`."""
        return self.request("GET", path, fill=fill, params=params)

    def post(self, path: str, **how: Any) -> Any:
        """Writes; see `request`."""
        return self.request("POST", path, **how)

    def put(self, path: str, **how: Any) -> Any:
        """Writes; see `request`."""
        return self.request("PUT", path, **how)

    def patch(self, path: str, **how: Any) -> Any:
        """Writes; see `request`."""
        return self.request("PATCH", path, **how)

    def delete(self, path: str, **how: Any) -> Any:
        """Writes; see `request`."""
        return self.request("DELETE", path, **how)

    def request(
        self,
        method: str,
        path: str,
        *,
        fill: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        form: Sequence[tuple[str, str]] | None = None,
        idempotent: bool = False,
        write: bool | None = None,
        records: int = 0,
        text_ok: bool = False,
    ) -> Any:
        """Sends a request and returns the parsed JSON (None for an empty answer).

        `form` is sent form-encoded instead of `json`. `text_ok`: an answer that is no JSON is returned as text.
        `path` is logged and kept in `drain_calls()` as given: whatever identifies a person goes into a
        `{placeholder}` and its value into `fill`. `write` False marks a POST that only reads. `idempotent`
        lets a write be repeated when its answer was lost. `records` is how many rows the write carries.

        Raises:
            AuthenticationError, RequestRejected, RateLimited, TemporaryApiError: as the answer was.
            ConfigurationError: the address or the key cannot be put into a request at all.
        """
        is_write = method != "GET" if write is None else write
        may_repeat = idempotent or not is_write
        url = self._base_url + _filled(path, fill or {})
        content = _content(json, form)

        def exchange() -> Answer | LetterTrailError:
            answer = self._exchange(method, url, path, params=params, content=content)
            if is_write:
                status = answer.status if isinstance(answer, Answer | ApiError) else None
                self._calls.append(Call(method, _loggable(path), status, records))
            return answer

        def attempt() -> Any:
            answer = exchange()
            if isinstance(answer, Answer) and answer.status == 401 and isinstance(self._auth, Renewable):
                self._auth.renew()
                answer = exchange()
            return self._value(answer, text_ok=text_ok)

        return self._retrying(attempt, method, path, may_repeat=may_repeat)

    def download(self, url: str, *, what: str) -> Path:
        """Fetches a file that an answer pointed to, without our key, into a temporary file the caller deletes.

        Args:
            url: on a host this client may speak to, or on the client's own origin.
            what: names the file in logs and errors; the URL itself may be a secret.

        Raises:
            ConfigurationError: the host is not permitted.
            RequestRejected, RateLimited, TemporaryApiError: as the answer was.
        """
        _permitted(url, service=self.service, hosts=self._hosts, allowed_hosts=self._allowed_hosts)

        def attempt() -> Path:
            return self._fetch(url, what)

        return self._retrying(attempt, "GET", what, may_repeat=True)

    def _retrying(self, attempt: Callable[[], T], method: str, path: str, *, may_repeat: bool) -> T:
        started = self._timer()

        def is_worth_repeating(error: BaseException) -> bool:
            return (isinstance(error, RateLimited) and (may_repeat or error.status == 429)) or (
                may_repeat and isinstance(error, TemporaryApiError)
            )

        def is_enough(state: tenacity.RetryCallState) -> bool:
            waited = self._timer() - started + state.upcoming_sleep
            return state.attempt_number >= self._retry.attempts or waited > self._retry.budget

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_worth_repeating),
            wait=self._wait,
            stop=is_enough,
            sleep=self._sleep,
            before_sleep=lambda state: self._tell_of_retry(state, method, path),
            reraise=True,
        )(attempt)

    def pages(
        self,
        path: str,
        *,
        rows: str | None,
        key: Callable[[Mapping[str, Any]], object],
        params: Mapping[str, Any] | None = None,
        paging: OffsetPaging | None = None,
    ) -> Iterator[Mapping[str, Any]]:
        """All rows of a list that is paged by offset, each `key` once, even when rows move while we page.

        `rows` names the field that holds them; None where the answer is the list itself.

        A page must begin with a row already seen; if it does not, rows have moved by more than the overlap
        and the pager steps back until it does. A service that gives the same page at another offset does not page.

        Raises:
            ContractError: an answer without the field `rows`.
        """
        how = paging or OffsetPaging()
        seen: set[object] = set()
        overlap = min(how.overlap, how.size // 2)
        offset = reached = 0
        back = overlap
        before: tuple[int, list[object]] = (0, [])
        while True:
            asked = {**(params or {}), how.size_param: how.size, how.offset_param: how.first + offset}
            page, total = self._page(path, rows, asked, how)
            keys = self._keys(path, page, key)
            if 0 < offset < reached and (not keys or keys[0] not in seen):
                back = min(back * 4, offset)
                offset -= back
                continue
            if keys == before[1] and offset != before[0]:
                return
            before = offset, keys
            for row, row_key in zip(page, keys, strict=True):
                if row_key not in seen:
                    seen.add(row_key)
                    yield row
            reached = offset + len(page)
            if not page or (len(page) < how.size and (total is None or reached >= total)):
                return
            if total is not None and reached >= total:
                return
            back = overlap
            offset = max(reached - back, offset + 1)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Inside, gives up after a second attempt: for questions that somebody sits and waits for."""
        patient, self._retry = self._retry, RetryPolicy(attempts=2, budget=10.0)
        try:
            yield
        finally:
            self._retry = patient

    def pause(self, seconds: float) -> None:
        """Waits the way it waits between attempts: for a job of the service that is asked about now and then."""
        self._sleep(seconds)

    def drain_calls(self) -> list[Call]:
        """The write calls since this was last asked."""
        drained, self._calls = self._calls, []
        return drained

    def _page(
        self, path: str, rows: str | None, params: Mapping[str, Any], how: OffsetPaging
    ) -> tuple[list[Mapping[str, Any]], int | None]:
        answer = self.get(path, params=params)
        if rows is None:
            if not isinstance(answer, list):
                raise ContractError(f"{self.service}: the answer to {_loggable(path)} is no list")
            return answer, None
        if not isinstance(answer, Mapping) or not isinstance(answer.get(rows), list):
            raise ContractError(f"{self.service}: the answer to {_loggable(path)} has no list {rows!r}")
        total = answer.get(how.total_field) if how.total_field else None
        return answer[rows], total if isinstance(total, int) else None

    def _keys(
        self, path: str, page: Sequence[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], object]
    ) -> list[object]:
        try:
            return [key(row) for row in page]
        except KeyError as missing:
            where = f"{self.service}: a row of {_loggable(path)}"
            raise ContractError(f"{where} lacks its key {missing}") from None

    def _fetch(self, url: str, what: str) -> Path:
        """One download. Whatever goes wrong leaves no file behind."""
        error: LetterTrailError
        with tempfile.NamedTemporaryFile(prefix="lettertrail-", delete=False) as file:
            target = Path(file.name)
            try:
                with self._throttle.slot():
                    response = self._session.get(
                        url, auth=_unsigned, timeout=self._timeouts, allow_redirects=False, stream=True
                    )
                if response.status_code == 200:
                    for chunk in response.iter_content(1 << 16):
                        file.write(chunk)
                    return target
                error = _by_status(Answer(self.service, response.status_code, response.headers, None)) or (
                    RequestRejected(self.service, f"{what}: no file came", status=response.status_code)
                )
            except (requests.RequestException, UnicodeError, ValueError) as fault:
                error = TemporaryApiError(self.service, f"the download of {what} was cut off ({type(fault).__name__})")
            except BaseException:
                target.unlink(missing_ok=True)
                raise
        target.unlink(missing_ok=True)
        raise error

    def _exchange(
        self, method: str, url: str, path: str, *, params: Mapping[str, Any] | None, content: tuple[str, bytes] | None
    ) -> Answer | LetterTrailError:
        """One request and its answer, or the error that took its place.

        Errors are returned, not raised: the ones of requests hold whole URLs, and an error raised while
        they are being handled would carry them along into every traceback.
        """
        headers = {"Accept": "application/json", "User-Agent": "LetterTrail"}
        headers |= self._auth.headers() if self._auth else {}
        kind, body = content or (None, None)
        headers |= {"Content-Type": kind} if kind else {}
        started = self._timer()
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                with self._throttle.slot():
                    response = self._session.request(
                        method,
                        url,
                        params=params,
                        data=body,
                        headers=headers,
                        auth=_unsigned,
                        timeout=self._timeouts,
                        allow_redirects=False,
                    )
            except (requests.Timeout, requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
                return _unanswered(error, self.service, f"{method} {_loggable(path)}")
            except (requests.RequestException, UnicodeError, ValueError) as error:
                return ConfigurationError(
                    f"{self.service}: the address or the key cannot be sent ({type(error).__name__}); "
                    "look for blanks and line breaks in the connection"
                )
            log.debug(
                "%s %s %s status=%s seconds=%.3f",
                self.service,
                method,
                _loggable(path),
                response.status_code,
                self._timer() - started,
            )
            if not response.is_redirect:
                return Answer(self.service, response.status_code, response.headers, _body(response))
            url, params = urljoin(url, response.headers["Location"]), None
            if method != "GET" or not _same_origin(urlsplit(url), self._origin):
                break
        return RequestRejected(
            self.service, f"{method} {_loggable(path)} was redirected elsewhere", status=response.status_code
        )

    def _value(self, answer: Answer | LetterTrailError, *, text_ok: bool) -> Any:
        if isinstance(answer, LetterTrailError):
            raise answer
        error = (self._classify(answer) if self._classify else None) or _by_status(answer)
        if isinstance(error, RateLimited) and error.retry_after is None:
            error.retry_after = retry_after(answer.headers, self._clock)
        if error is not None:
            raise error
        if isinstance(answer.body, str) and not text_ok:
            raise TemporaryApiError(self.service, "the answer is not JSON, or was cut short", status=answer.status)
        return answer.body

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RateLimited) and error.retry_after is not None:
            return error.retry_after
        longest = min(self._retry.first_wait * 2.0 ** (state.attempt_number - 1), self._retry.longest_wait)
        return longest * (0.5 + 0.5 * self._jitter())

    def _tell_of_retry(self, state: tenacity.RetryCallState, method: str, path: str) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(
            "%s %s %s attempt=%d failed with %s, waiting %.1f s",
            self.service,
            method,
            _loggable(path),
            state.attempt_number,
            type(error).__name__,
            state.upcoming_sleep,
        )


def retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """The seconds a Retry-After header asks for (a number or a date), None without a usable one."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - clock()).total_seconds())


def _unanswered(error: requests.RequestException, service: str, request: str) -> TemporaryApiError:
    if isinstance(error, requests.ConnectTimeout) or _never_connected(error):
        return Unreachable(service, f"{request}: no connection")
    if isinstance(error, requests.Timeout):
        return TemporaryApiError(service, f"{request} timed out")
    return TemporaryApiError(service, f"{request} was cut off ({type(error).__name__})")


def _never_connected(error: requests.RequestException) -> bool:
    """Whether it failed before a byte of the request could leave; names that do not resolve are among these."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


def _by_status(answer: Answer) -> ApiError | None:
    service, status = answer.service, answer.status
    if 200 <= status < 300:
        return None
    if status in (401, 403):
        return AuthenticationError(service, "the key was refused; renew it in the connection", status=status)
    if status in (429, 503):
        return RateLimited(service, "too many requests", status=status)
    if status >= 500 or status in (408, 425):
        return TemporaryApiError(service, "the service failed", status=status)
    kinds = {404: (NotFound, "not found"), 409: (Duplicate, "the service says it has done this already")}
    kind, message = kinds.get(status, (RequestRejected, "the request was refused"))
    return kind(service, message, status=status)


def _permitted(base_url: str, *, service: str, hosts: Sequence[str], allowed_hosts: Sequence[str]) -> SplitResult:
    try:
        origin = urlsplit(base_url)
        host, port = origin.hostname, origin.port
    except ValueError:
        host, port = None, None
    if host is None or origin.scheme not in ("http", "https") or origin.username or origin.password:
        raise ConfigurationError(f"{service}: the connection's address is not a plain http(s) URL")
    allowed = any(_matches(host, port, pattern) for pattern in allowed_hosts)
    declared = origin.scheme == "https" and any(_matches(host, port, pattern) for pattern in hosts)
    if not (allowed or declared):
        raise ConfigurationError(
            f"{service}: {origin.scheme}://{host} is not an allowed outbound host; "
            "if it is right, add it to LETTERTRAIL_ALLOWED_HOSTS"
        )
    return origin


def _matches(host: str, port: int | None, pattern: str) -> bool:
    name, _, wanted_port = pattern.strip().lower().partition(":")
    return fnmatch.fnmatchcase(host, name) and (not wanted_port or wanted_port == str(port))


def _same_origin(url: SplitResult, origin: SplitResult) -> bool:
    return (url.scheme, url.hostname, url.port) == (origin.scheme, origin.hostname, origin.port)


def _session(*, trust_env: bool) -> requests.Session:
    session = requests.Session()
    session.trust_env = trust_env  # a proxy cannot reach our loopback
    adapter = HTTPAdapter(max_retries=0, pool_maxsize=10)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from looking for a password in ~/.netrc."""
    return request


def _filled(path: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        path = path.replace("{" + name + "}", quote(value, safe=""))
    return "/" + path.lstrip("/")


def _content(json: Any, form: Sequence[tuple[str, str]] | None) -> tuple[str, bytes] | None:
    """Content type and body."""
    if form is not None:
        return "application/x-www-form-urlencoded", urlencode(form).encode()
    if json is None:
        return None
    return "application/json", jsonlib.dumps(json, ensure_ascii=False).encode()


def _loggable(path: str) -> str:
    """The path template; what looks like an address is masked even if someone forgot the placeholder."""
    return "/".join("***" if "@" in part or "%40" in part else part for part in path.split("/"))


def _body(response: requests.Response) -> Any:
    if not response.content:
        return None
    try:
        return jsonlib.loads(response.content)
    except ValueError:
        return response.text
