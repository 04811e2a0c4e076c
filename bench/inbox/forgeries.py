"""Requests that somebody makes who has seen genuine ones and does not know the secrets, from a seed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote_plus, unquote_plus

from bench.inbox.letters import MAKERS, SECRETS, Hook, signed_mandrill, signed_unisender


@dataclass(frozen=True, slots=True)
class Forgery:
    """A request, what was done to it, and the genuine one it comes from."""

    kind: str
    hook: Hook
    genuine: Hook
    is_replay: bool = False
    """The same content again, in time: may be answered with 200, but adds nothing."""


def forgeries(count: int, *, unix: int, seed: int) -> Iterator[Forgery]:
    """So many, of every service and every kind in turn."""
    rng = random.Random(seed)
    ways = [(service, way) for service, found in _WAYS.items() for way in found]
    for number in range(count):
        service, way = ways[number % len(ways)]
        genuine = MAKERS[service](number, unix=unix)
        forged = way(genuine, rng, number, unix)
        is_replay = way in (_again, _spelled_otherwise)
        yield Forgery(f"{service}: {way.__name__.strip('_').replace('_', ' ')}", forged, genuine, is_replay)


def _headed(hook: Hook, **changes: str | None) -> Hook:
    headers: Mapping[str, str | None] = {**hook.headers, **changes}
    return replace(hook, headers={name: value for name, value in headers.items() if value is not None})


def _sign(hook: Hook, change: Callable[[str], str | None]) -> Hook:
    name = next(name for name in hook.headers if name.endswith("Signature"))
    return _headed(hook, **{name: change(hook.headers[name])})


def _again(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    return hook


def _byte_changed(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    at = rng.randrange(len(hook.body))
    other = bytes([rng.choice([byte for byte in b"abcxyz019" if byte != hook.body[at]])])
    return replace(hook, body=hook.body[:at] + other + hook.body[at + 1 :])


def _cut(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    return replace(hook, body=hook.body[: rng.randrange(len(hook.body))])


def _longer(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    return replace(hook, body=hook.body + rng.choice([b"&a=b", b" ", b"\0", b"{}", b"&mandrill_events=[]", b"\n"]))


def _for_another(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """Sent to an address of another service."""
    return replace(hook, address=rng.choice([address for address in SECRETS if address != hook.address]))


def _wrong_token(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    at = rng.randrange(len(hook.token))
    return replace(hook, token=hook.token[:at] + "_" + hook.token[at + 1 :] if hook.token[at] != "_" else "x" * 34)


def _other_body(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """The signature of one webhook on another."""
    name = "mailchimp" if "Mailchimp" in "".join(hook.headers) else "mandrill"
    return replace(hook, body=MAKERS[name](number + 10_000_000, unix=unix).body)


def _unsigned(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    return _sign(hook, lambda _: rng.choice([None, "", "t=,v1=", "v1=", "=", ",", "AAAA", "null"]))


def _guessed_key(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    name = next(name for name, address in _ADDRESSES.items() if address == hook.address)
    guess = rng.choice(["", "secret", "test-webhook", "mc-secreT", "0" * 32, hook.token, rng.randbytes(8).hex()])
    return MAKERS[name](number, unix=unix, secret=guess)


def _shouted(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    return _sign(hook, lambda text: text.upper() if text.upper() != text else text + "=")


def _old(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """Signed by the service, and shown too late."""
    return MAKERS["mailchimp"](number, unix=unix - 400 - rng.randrange(100_000))


def _from_the_future(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    return MAKERS["mailchimp"](number, unix=unix + 400 + rng.randrange(100_000))


def _made_younger(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """An old one with a new time written over the old."""
    old = MAKERS["mailchimp"](number, unix=unix - 4000)
    return _sign(old, lambda text: f"t={unix},{text.partition(',')[2]}")


def _two_times(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    old = MAKERS["mailchimp"](number, unix=unix - 4000)
    return _sign(old, lambda text: f"t={unix},{text}" if rng.random() < 0.5 else f"{text},t={unix}")


def _odd_time(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    odd = rng.choice(["1e9", f"+{unix}", f"{unix}.0", f"0{unix}", "٣٣٣", "-1", "9" * 40, "NaN", ""])
    return _sign(hook, lambda text: f"t={odd},{text.partition(',')[2]}")


def _boundary_moved(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """A letter moved from the field's value into its name, or back: the signed text stays the same."""
    name, _, value = hook.body.decode().partition("=")
    whole = name + unquote_plus(value)
    at = rng.choice([at for at in range(1, 40) if at != len(name)])
    return replace(hook, body=f"{quote_plus(whole[:at])}={quote_plus(whole[at:])}".encode())


def _renamed(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """The signed value under another name."""
    name = rng.choice(
        [b"mandrill_event", b"Mandrill_events", b"events", b"", b"mandrill_events[]", b"a&mandrill_events"]
    )
    return replace(hook, body=name + b"=" + hook.body.partition(b"=")[2])


def _other_address(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """Signed with our key for an address of somebody else."""
    events = unquote_plus(hook.body.decode().partition("=")[2])
    return signed_mandrill(events, url=rng.choice(["https://elsewhere.example", "http://hooks.example.com/inbox"]))


def _spelled_otherwise(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """The same form in another spelling: the signature is over what it says, so it is right."""
    return replace(hook, body=hook.body.replace(b"+", b"%20").replace(b"%7B", b"%7b").replace(b"a", b"%61", 1))


def _auth_moved(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """The right MD5, but not at the top of the JSON."""
    return replace(hook, body=b'{"a":' + hook.body + b"}")


def _extended(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """What MD5 lets anybody do: text added behind the signed one, with a digest that is right for both."""
    secret = SECRETS["unisender/marketing"].encode()
    at = hook.body.index(b'"auth":"') + len(b'"auth":"')
    signed = hook.body[:at] + secret + hook.body[at + 32 :]
    padding = b"\x80" + b"\0" * ((55 - len(signed)) % 64) + (8 * len(signed)).to_bytes(8, "little")
    tail = padding + rng.choice([b"", b" ", b',"events_by_user":[]}', b"\n"])
    digest = hashlib.md5(signed + tail).hexdigest().encode()
    return replace(hook, body=hook.body[:at] + digest + hook.body[at + 32 :] + tail)


def _plain_md5(hook: Hook, rng: random.Random, number: int, unix: int) -> Hook:
    """The MD5 of the body without any key."""
    unkeyed = rng.choice(["", "null", "0" * 32])
    body = json.dumps({"auth": unkeyed, "num": number}, separators=(",", ":")).encode()
    return signed_unisender(body, secret=unkeyed)


_ADDRESSES = {
    "mailchimp": "mailchimp/marketing",
    "mandrill": "mailchimp/transactional",
    "unisender": "unisender/marketing",
}
_ANY = [_again, _cut, _for_another, _wrong_token, _guessed_key]
_SIGNED = [_other_body, _unsigned, _shouted]
_WAYS: Mapping[str, list[Callable[[Hook, random.Random, int, int], Hook]]] = {
    "mailchimp": [
        *_ANY, *_SIGNED, _byte_changed, _longer, _old, _from_the_future, _made_younger, _two_times, _odd_time,
    ],
    "mandrill": [*_ANY, *_SIGNED, _longer, _boundary_moved, _renamed, _other_address, _spelled_otherwise],
    "unisender": [*_ANY, _byte_changed, _longer, _auth_moved, _extended, _plain_md5],
}  # fmt: skip
