"""Genuine webhooks pass, forgeries do not; the signatures are made here by the services' rules, not by our code."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import pytest
from bench.inbox import letters
from bench.inbox.forgeries import forgeries
from tests.inbox.conftest import NOW, UNIX, MemoryStore, post

from lettertrail.inbox import signatures
from lettertrail.inbox.app import Inbox

FORGED = 700


@pytest.mark.parametrize("maker", sorted(letters.MAKERS))
def test_a_genuine_webhook_is_let_in(app: Inbox, store: MemoryStore, maker: str) -> None:
    """Otherwise nothing of that service would ever arrive."""
    hook = letters.MAKERS[maker](1, unix=UNIX)
    assert post(app, hook).status == 200
    (kept,) = store.kept
    assert (kept.body, kept.verdict, kept.received_at) == (hook.body, "signed", NOW)


def test_no_forgery_is_let_in(app: Inbox, store: MemoryStore) -> None:
    """Of none of the kinds; one let in is somebody else's word in our suppression list. Seed 4."""
    statuses: Counter[tuple[str, int]] = Counter()
    for forged in forgeries(FORGED, unix=UNIX, seed=4):
        store.kept.clear()
        status = post(app, forged.hook).status
        if forged.is_replay:
            # It says what the service signed; stored, it is the same content, which is one row.
            post(app, forged.genuine)
            assert len({kept.content_hash() for kept in store.kept}) == 1
        else:
            statuses[forged.kind, status] += 1
    assert {status for _, status in statuses} == {401, 404}, statuses
    assert sum(statuses.values()) > FORGED * 0.8


def test_either_of_two_keys_will_do(app: Inbox, store: MemoryStore) -> None:
    """While a key changes, Mailchimp sends two `v1` and we know two secrets."""
    hook = letters.mailchimp(1, unix=UNIX)
    right = hook.headers["X-Mailchimp-Signature"].partition(",")[2]
    header = f"t={UNIX}, v1={'0' * 64}, {right}, v2=whatever"
    assert post(app, replace(hook, headers={"X-Mailchimp-Signature": header})).status == 200
    assert signatures.hmac_sha256_time(hook.body, header, [b"another", b"mc-secret"], now=NOW) == hook.body
    assert signatures.hmac_sha256_time(hook.body, header, [], now=NOW) is None


@pytest.mark.parametrize(("seconds", "is_right"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_five_minutes_are_the_limit(seconds: int, *, is_right: bool) -> None:
    """A signature that was caught on its way is of no use later."""
    hook = letters.mailchimp(1, unix=UNIX - seconds)
    found = signatures.hmac_sha256_time(hook.body, hook.headers["X-Mailchimp-Signature"], [b"mc-secret"], now=NOW)
    assert (found is not None) is is_right


def test_mandrill_signs_the_address_as_it_was_registered() -> None:
    """With a user and password in it, behind a proxy: what the server sees does not matter."""
    url = "https://user:word@hooks.example.com/inbox"
    hook = letters.signed_mandrill('[{"event":"open"}]', url=url)
    signature = hook.headers["X-Mandrill-Signature"]
    assert signatures.hmac_sha1_form(hook.body, signature, [b"md-key"], url=url + hook.path) == b'[{"event":"open"}]'
    assert signatures.hmac_sha1_form(hook.body, signature, [b"md-key"], url=hook.path) is None


def test_mandrill_tries_an_address_before_it_shows_the_key(app: Inbox, store: MemoryStore) -> None:
    """Refused, the webhook could not be made at all; let in with events, anybody could make some up."""
    assert post(app, letters.signed_mandrill("[]", secret="test-webhook")).status == 200
    assert post(app, letters.signed_mandrill('[{"event":"spam"}]', secret="test-webhook")).status == 401
    assert store.kept == []


def test_unisender_signs_the_bytes_and_not_what_they_mean() -> None:
    """Escaped slashes and blanks stay as they are; another `auth` further in is not the one."""
    body = b'{"a":{"auth":"' + b"0" * 32 + b'"},"auth" : "KEY","url":"https:\\/\\/a.example", "x":1}'
    digest = hashlib.md5(body.replace(b"KEY", b"us-key")).hexdigest().encode()
    signed = body.replace(b"KEY", digest)
    assert signatures.md5_body(signed, [b"other", b"us-key"]) == signed
    assert signatures.md5_body(signed.replace(b"\\/", b"/"), [b"us-key"]) is None


def test_an_optional_signature_is_asked_for_once_there_is_a_key(app: Inbox, store: MemoryStore) -> None:
    """Leaving the header out must not be a way in."""
    assert post(app, replace(letters.mailchimp(1, unix=UNIX), headers={})).status == 401
    assert store.kept == []
