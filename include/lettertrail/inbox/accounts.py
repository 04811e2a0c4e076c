"""Which webhooks there are: whose, where, and how to tell them from forgeries.

LETTERTRAIL_INBOX_ACCOUNTS holds JSON, or the path of a file with it, by connection id:

    {"mailchimp": {"token": "<32 random characters>", "secrets": {"marketing": ["…"], "transactional": ["…"]}},
     "bitrix24": {"token": "…", "secrets": {"events": ["<application token>"]}, "member_id": "<optional>"},
     "bitrix_site": {"token": "…", "secrets": {"site": ["…"]}, "relay": true, "sender": "Shop <shop@example.com>"}}

`token` is the secret part of the addresses `<LETTERTRAIL_INBOX_URL>/<connection id>/<kind>/<token>`; a list while it
changes. `secrets` are what the service signs with, by kind; several while they change. `relay` (its letters are sent by
us) and `sender` (of letters that name none) are for sites with our handler.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from lettertrail import esps
from lettertrail.bitrix import outbound
from lettertrail.errors import ConfigurationError
from lettertrail.esps.port import Hook
from lettertrail.inbox import signatures, site
from lettertrail.settings import read_object

ACCOUNTS = "LETTERTRAIL_INBOX_ACCOUNTS"
URL = "LETTERTRAIL_INBOX_URL"
BITRIX_NAMES = frozenset({"bitrix", "bitrix24"})
BITRIX_KIND = "events"
MIN_TOKEN = 16

Verdict = Literal["signed", "path", "test", "forged"]
"""`path`: nothing is signed, the secret in the address was right. `test`: a signed trial without content."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One address that a service posts to."""

    account: str
    kind: str
    tokens: tuple[bytes, ...] = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    hook: Hook | None
    """None: a Bitrix portal, which sends a token inside its form."""
    public_url: str = field(repr=False)
    """What comes before our path in the address as registered; a user and password in it are part of it."""
    member_id: bytes | None = None
    site: site.Site | None = None
    """None: no site with our handler."""

    @property
    def is_json(self) -> bool:
        """Whether JSON comes here, and nothing else."""
        return self.site is not None or (self.hook is not None and self.hook.body == "json")

    def verify(
        self, body: bytes, headers: Mapping[str, str], path: str, *, now: datetime
    ) -> tuple[Verdict, bytes | None]:
        """What to think of a body, and the content to know it by when it comes again (None: nothing to store).

        Args:
            headers: names in lower case.
            path: as requested below the public URL, query included.
        """
        if self.site is not None:
            time, given = headers.get(site.TIME_HEADER, ""), headers.get(site.SIGNATURE_HEADER, "")
            content = signatures.hmac_sha256_headers(body, time, given, self.secrets, now=now)
            return ("signed", content) if content is not None else ("forged", None)
        if self.hook is None:
            is_portal = outbound.is_authentic(body, self.secrets, member_id=self.member_id)
            return ("signed", body) if is_portal else ("forged", None)
        if self.hook.signature == "none" or (self.hook.is_optional and not self.secrets):
            return "path", body
        content = self._signed_content(self.hook, body, headers, path, now)
        if content is not None:
            return "signed", content
        if self.hook.signature == "hmac_sha1_form" and self._is_mandrill_test(self.hook, body, headers, path):
            return "test", None
        return "forged", None

    def _signed_content(
        self, hook: Hook, body: bytes, headers: Mapping[str, str], path: str, now: datetime
    ) -> bytes | None:
        header = headers.get(hook.header or "", "")
        if hook.signature == "hmac_sha256_time":
            return signatures.hmac_sha256_time(body, header, self.secrets, now=now)
        if hook.signature == "hmac_sha1_form":
            return signatures.hmac_sha1_form(body, header, self.secrets, url=self.public_url + path)
        return signatures.md5_body(body, self.secrets)

    def _is_mandrill_test(self, hook: Hook, body: bytes, headers: Mapping[str, str], path: str) -> bool:
        header = headers.get(hook.header or "", "")
        return signatures.is_mandrill_test(body, header, url=self.public_url + path)


class Webhooks:
    """All addresses, by connection id and kind."""

    def __init__(self, webhooks: Mapping[tuple[str, str], Webhook]) -> None:
        self._webhooks = dict(webhooks)

    def __iter__(self) -> Iterator[Webhook]:
        return iter(self._webhooks.values())

    def find(self, account: str, kind: str, token: str) -> Webhook | None:
        """The webhook of an address, None unless all three parts are right."""
        webhook = self._webhooks.get((account, kind))
        known = webhook.tokens if webhook is not None else (b"",)
        given = token.encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(given, one) for one in known]
        return webhook if given and any(matches) else None


def read_webhooks(environ: Mapping[str, str]) -> Webhooks:
    """What the environment says; none when it says nothing.

    Raises:
        ConfigurationError: naming the account and what is wrong with it, never a secret.
    """
    url = environ.get(URL, "").strip().rstrip("/")
    found: dict[tuple[str, str], Webhook] = {}
    text = environ.get(ACCOUNTS, "").strip()
    entries = read_object(ACCOUNTS, text, holds="connection id → token and secrets") if text else {}
    for account, entry in entries.items():
        for webhook in _webhooks_of(str(account), entry, url):
            found[webhook.account, webhook.kind] = webhook
    return Webhooks(found)


def _webhooks_of(account: str, entry: object, url: str) -> Iterator[Webhook]:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{ACCOUNTS}: {account} must be an object with a token")
    found_site = _site(account, entry)
    unknown = set(entry) - {"token", "secrets", "member_id"} - ({"relay", "sender"} if found_site else set())
    if unknown:
        raise ConfigurationError(f"{ACCOUNTS}: {account} has the unknown key {sorted(unknown)[0]!r}")
    tokens, hooks = _tokens(account, entry.get("token")), _hooks(account)
    secrets = _secrets(account, entry.get("secrets"), hooks)
    if found_site and not secrets[site.KIND]:
        raise ConfigurationError(f"{ACCOUNTS}: {account} needs secrets.{site.KIND}: what the handler signs with")
    member_id = entry.get("member_id")
    for kind, hook in hooks.items():
        if hook is not None and hook.signature == "hmac_sha1_form" and secrets[kind] and not url:
            raise ConfigurationError(f"{URL} is not set: {account} signs its address, so it must be known")
        yield Webhook(
            account, kind, tokens, secrets[kind], hook, public_url=url,
            member_id=str(member_id).encode() if member_id else None, site=found_site,
        )  # fmt: skip


def _tokens(account: str, value: object) -> tuple[bytes, ...]:
    tokens = _texts(account, "token", value)
    if not tokens or min(map(len, tokens)) < MIN_TOKEN or not all(map(_is_plain, tokens)):
        raise ConfigurationError(f"{ACCOUNTS}: {account} needs a token of {MIN_TOKEN} or more letters, digits, - and _")
    return tuple(token.encode() for token in tokens)


def _secrets(account: str, value: object, hooks: Mapping[str, Hook | None]) -> dict[str, tuple[bytes, ...]]:
    """By kind; a kind without any has none."""
    given = {} if value is None else value
    if not isinstance(given, dict):
        raise ConfigurationError(f"{ACCOUNTS}: secrets of {account} must be an object: kind → secrets")
    stray = sorted(set(given) - set(hooks))
    if stray:
        raise ConfigurationError(f"{ACCOUNTS}: {account} has no webhook {stray[0]!r}; it has {', '.join(hooks)}")
    found = {kind: _texts(account, f"secrets.{kind}", given.get(kind)) for kind in hooks}
    return {kind: tuple(text.encode() for text in texts) for kind, texts in found.items()}


def _hooks(account: str) -> Mapping[str, Hook | None]:
    name = esps.adapter_name(account)
    if name in site.NAMES:
        return {site.KIND: None}
    return {BITRIX_KIND: None} if name in BITRIX_NAMES else esps.load(name).hooks


def _site(account: str, entry: Mapping[str, Any]) -> site.Site | None:
    if esps.adapter_name(account) not in site.NAMES:
        return None
    relays, sender = entry.get("relay", False), entry.get("sender")
    if not isinstance(relays, bool):
        raise ConfigurationError(f"{ACCOUNTS}: relay of {account} must be true or false")
    if sender is not None and (not isinstance(sender, str) or "@" not in sender):
        raise ConfigurationError(f"{ACCOUNTS}: sender of {account} must be an address, with or without a name")
    return site.Site(relays, sender)


def _texts(account: str, key: str, value: object) -> list[str]:
    """One text or a list of them."""
    texts = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ConfigurationError(
            f"{ACCOUNTS}: {key} of {account} must be a text or a list of texts, none of them empty"
        )
    return [text.strip() for text in texts]


def _is_plain(token: str) -> bool:
    """Whether it stands in an address as it is."""
    return token.isascii() and token.replace("-", "").replace("_", "").isalnum()
