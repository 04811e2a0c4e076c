"""The requests to the preference page, below the inbox's public address.

    GET  /preferences/<token>    the page; changes nothing, however often a link scanner comes by
    POST /preferences/<token>    saves what is ticked, or leaves altogether, and shows the page again
    GET  /unsubscribe/<token>    one button; changes nothing
    POST /unsubscribe/<token>    `List-Unsubscribe=One-Click` (RFC 8058), from a mail program or from that button

The link is the whole authority: there is no login and no cookie, so there is nothing a foreign page could make a
browser add to a forged request. Whoever can send the request has the link already. For the same reason pages are not
framed, kept or found, and no address is shown: a forwarded letter must not tell whose it was.

A wrong token, one for something else and one whose row is gone get the same page with the same 404.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message as Mail
from email.parser import BytesParser
from typing import NoReturn
from urllib.parse import parse_qsl
from uuid import UUID

from lettertrail.clock import Clock
from lettertrail.errors import WarehouseError
from lettertrail.inbox.limits import Allowance
from lettertrail.inbox.reading import Answer, Gone, Message, Receive, Send, read_body, read_headers
from lettertrail.preferences.choices import CATEGORIES, Choice, Choices, PostgresChoices, Standing
from lettertrail.preferences.links import Links, Purpose, read_links
from lettertrail.preferences.page import SENDER, Page, Pages, Trouble, preferred_language
from lettertrail.preferences.words import LANGUAGES

log = logging.getLogger(__name__)

ONE_CLICK = ("List-Unsubscribe", "One-Click")
_MAX_FIELDS = 50


@dataclass(frozen=True, slots=True)
class PageLimits:
    """Caps of the pages; each worker process counts for itself."""

    body_bytes: int = 16 << 10
    header_bytes: int = 32 << 10
    body_seconds: float = 10.0
    requests_per_second: float = 500.0
    """With a good token, with twice that at once."""
    changes_per_minute: float = 20.0
    """Of one link, and as many at once."""
    links_remembered: int = 10_000


@dataclass(frozen=True, slots=True)
class _Request:
    """One that came to a path of ours."""

    purpose: Purpose
    token: str
    method: str
    headers: Mapping[str, str]
    receive: Receive
    language: str


class PreferenceRoutes:
    """Answers the requests."""

    def __init__(
        self, links: Links, choices: Choices, pages: Pages, *, clock: Clock, limits: PageLimits | None = None
    ) -> None:
        self._links = links
        self._choices = choices
        self._pages = pages
        self._clock = clock
        self._limits = limits or PageLimits()
        self._all = Allowance(self._limits.requests_per_second, 2 * self._limits.requests_per_second)
        self._changes: OrderedDict[UUID, Allowance] = OrderedDict()
        self._refused: Counter[tuple[str, str]] = Counter()

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path below the inbox is one of ours; webhooks have three parts, these two."""
        return path.count("/") == 2 and path.startswith(("/preferences/", "/unsubscribe/"))

    async def close(self) -> None:
        """Lets go of the database."""
        await self._choices.close()

    async def __call__(self, scope: Message, path: str, receive: Receive, send: Send) -> None:
        """One request to a path that `serves` said yes to."""
        _, word, token = path.split("/")
        purpose: Purpose = "unsubscribe" if word == "unsubscribe" else "preferences"
        language = next(iter(LANGUAGES))
        extra: tuple[tuple[bytes, bytes], ...] = ()
        try:
            headers = read_headers(scope["headers"], most=self._limits.header_bytes)
            language = _language(scope, headers)
            page = await self._answer(_Request(purpose, token, scope["method"], headers, receive, language))
        except Gone:
            return
        except Answer as answer:
            self._tell(purpose, answer)
            page, extra = self._pages.trouble(language, answer.status, _trouble(answer.status)), answer.headers
        await self._send(send, page, extra, is_head=scope["method"] == "HEAD")

    async def _answer(self, request: _Request) -> Page:
        link = self._links.read(request.purpose, request.token)
        if link is None:
            raise Answer(404, "no link of ours")
        if request.method not in ("GET", "HEAD", "POST"):
            raise Answer(405, "method", (b"allow", b"GET, HEAD, POST"))
        if not self._all.take():
            _too_many()
        try:
            return await (self._change(request, link) if request.method == "POST" else self._show(request, link))
        except WarehouseError:
            raise Answer(503, "the warehouse does not answer", (b"retry-after", b"30")) from None

    async def _show(self, request: _Request, link: UUID) -> Page:
        standing = await self._standing(link)
        if request.purpose == "unsubscribe":
            return self._pages.unsubscribe(request.language)
        return self._pages.preferences(request.language, standing)

    async def _change(self, request: _Request, link: UUID) -> Page:
        limits = self._limits
        body = await read_body(request.headers, request.receive, most=limits.body_bytes, seconds=limits.body_seconds)
        fields = _fields(body, request.headers.get("content-type", ""))
        if not self._may_change(link):
            _too_many()
        if request.purpose == "preferences":
            return await self._save(link, fields, request.language)
        if ONE_CLICK not in fields:
            raise Answer(400, "not one click")
        await self._store(Choice(link, "one_click", (), self._clock()))
        return self._pages.unsubscribed(request.language)

    async def _save(self, link: UUID, fields: list[tuple[str, str]], language: str) -> Page:
        """The preference page's own form."""
        ticked = {value for name, value in fields if name == "category"}
        is_leaving = ("do", "leave") in fields or not ticked
        if not {("do", "save"), ("do", "leave")} & set(fields) or not ticked <= set(CATEGORIES):
            raise Answer(400, "not the page's form")
        wanted = () if is_leaving else tuple(category for category in CATEGORIES if category in ticked)
        before = await self._standing(link)
        wording = self._pages.wording(language)
        if wanted and not before.may_return:
            return self._pages.preferences(language, before)
        if wanted and ("text", wording.version) not in fields:
            # Nobody agrees to a text that was not shown. Leaving needs no agreement.
            asked = Standing(frozenset(wanted), has_left=False, may_return=True)
            return self._pages.preferences(language, asked, just="changed")
        await self._store(Choice(link, "page", wanted, self._clock(), wording))
        after = Standing(frozenset(wanted), has_left=not wanted, may_return=before.may_return)
        return self._pages.preferences(language, after, just="returned" if wanted and before.has_left else "saved")

    async def _standing(self, link: UUID) -> Standing:
        standing = await self._choices.standing(link)
        if standing is None:
            raise Answer(404, "the link's row is gone")
        return standing

    async def _store(self, choice: Choice) -> None:
        if not await self._choices.store(choice):
            raise Answer(404, "the link's row is gone")

    def _may_change(self, link: UUID) -> bool:
        allowance = self._changes.pop(link, None)
        if allowance is None:
            each = self._limits.changes_per_minute
            allowance = Allowance(each / 60, each)
            if len(self._changes) >= self._limits.links_remembered:
                self._changes.popitem(last=False)
        self._changes[link] = allowance
        return allowance.take()

    async def _send(self, send: Send, page: Page, extra: tuple[tuple[bytes, bytes], ...], *, is_head: bool) -> None:
        headers = {
            **self._pages.headers(),
            "content-type": "text/html; charset=utf-8",
            "content-language": page.language,
            "content-length": str(len(page.html)),
        }
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": page.status, "headers": [*pairs, *extra]})
        await send({"type": "http.response.body", "body": b"" if is_head else page.html})

    def _tell(self, purpose: Purpose, answer: Answer) -> None:
        """Logs the first, the tenth, the hundredth … of a kind, never a token."""
        self._refused[purpose, answer.why] += 1
        times = self._refused[purpose, answer.why]
        if str(times).strip("0") == "1":
            log.warning("%s page refused with %s (%s), %d so far", purpose, answer.status, answer.why, times)


def read_routes(environ: Mapping[str, str], dsn: str, *, clock: Clock) -> PreferenceRoutes | None:
    """What the environment says; None without LETTERTRAIL_LINK_SECRETS: then there are no pages.

    Args:
        dsn: of the role lettertrail_inbox.

    Raises:
        ConfigurationError: see `read_links`.
    """
    links = read_links(environ)
    if links is None:
        return None
    pages = Pages(environ.get(SENDER, "").strip())
    return PreferenceRoutes(links, PostgresChoices(dsn), pages, clock=clock)


def _too_many() -> NoReturn:
    raise Answer(429, "too many", (b"retry-after", b"60"))


def _trouble(status: int) -> Trouble:
    if status == 404:
        return "unknown"
    return "failed" if status in (429, 503) else "refused"


def _language(scope: Message, headers: Mapping[str, str]) -> str:
    """By `?lang=`, else by what the browser prefers."""
    query: bytes = scope.get("query_string", b"")
    language = dict(parse_qsl(query[:1000].decode("latin-1"))).get("lang", "")
    return language if language in LANGUAGES else preferred_language(headers.get("accept-language", ""))


def _fields(body: bytes, content_type: str) -> list[tuple[str, str]]:
    """Names and values of a form. RFC 8058 lets mail programs send either kind.

    Raises:
        Answer: 400, it is no form.
    """
    mail = Mail()
    mail["content-type"] = content_type.replace("\r", "").replace("\n", "")
    try:
        if mail.get_content_type() == "multipart/form-data":
            return list(_parts(body, mail["content-type"]))
        if mail.get_content_type() == "application/x-www-form-urlencoded":
            return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise Answer(400, "an unreadable form") from None
    raise Answer(400, "no form")


def _parts(body: bytes, content_type: str) -> list[tuple[str, str]]:
    """Of a multipart form. Files and nested parts are nothing we ask for."""
    head = b"MIME-Version: 1.0\r\nContent-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    parts = BytesParser().parsebytes(head + body).get_payload()
    if not isinstance(parts, list) or len(parts) > _MAX_FIELDS:
        raise ValueError("not a multipart form")
    return [_part(part) for part in parts]


def _part(part: object) -> tuple[str, str]:
    name = part.get_param("name", header="content-disposition") if isinstance(part, Mail) else None
    content = part.get_payload(decode=True) if isinstance(part, Mail) else None
    if isinstance(name, str) and isinstance(content, bytes):
        return name, content.decode()
    raise ValueError("not a part of a form")
