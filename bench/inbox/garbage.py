"""What arrives at an open port besides webhooks, as bytes on the wire, from a seed."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator

from bench.inbox.letters import TOKEN

MAX_BODY = 1 << 20


def garbage(count: int, *, seed: int, addresses: list[str]) -> Iterator[tuple[str, bytes]]:
    """So many requests (or what is none), of every kind in turn, each with the kind's name.

    Args:
        addresses: `<connection id>/<kind>` that exist, with `letters.TOKEN`.
    """
    rng = random.Random(seed)
    kinds = list(_KINDS.items())
    for number in range(count):
        name, make = kinds[number % len(kinds)]
        yield name, make(rng, f"/{rng.choice(addresses)}/{TOKEN}")


def post(path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
    """A request with a right length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: inbox", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _json(text: str) -> Callable[[random.Random, str], bytes]:
    return lambda rng, path: post(path, text.encode("utf-8", "surrogatepass"), "Content-Type: application/json")


def _random_body(rng: random.Random, path: str) -> bytes:
    return post(path, rng.randbytes(rng.randrange(3000)), f"Content-Type: {rng.choice(_TYPES)}")


def _deep(rng: random.Random, path: str) -> bytes:
    levels = rng.choice([33, 1_000, 100_000])
    return post(path, rng.choice([b"[", b'{"a":', b'[{"b":[']) * levels + rng.choice([b"", b"]" * levels]))


def _mangled(rng: random.Random, path: str) -> bytes:
    whole = json.dumps([{"event": "unsubscribe", "email": "a@example.com", "timestamp": 1, "x": [None, 1e300]}] * 20)
    body = bytearray(whole.encode())
    for _ in range(rng.randrange(1, 20)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return post(path, bytes(body), "Content-Type: application/json")


def _chunked(rng: random.Random, path: str) -> bytes:
    chunks = [rng.randbytes(rng.randrange(1, 200)) for _ in range(rng.randrange(5))]
    body = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks) + b"0\r\n\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: inbox\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body


def _bad_chunks(rng: random.Random, path: str) -> bytes:
    body = rng.choice(
        [b"zz\r\nabc\r\n0\r\n\r\n", b"-1\r\n\r\n", b"ffffffffffffffffff\r\n", b"3\r\nabcdef\r\n0\r\n\r\n"]
    )
    return f"POST {path} HTTP/1.1\r\nHost: inbox\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body


def _huge(rng: random.Random, path: str) -> bytes:
    return post(path, b"a" * (MAX_BODY + 1))


def _huge_promise(rng: random.Random, path: str) -> bytes:
    size = rng.choice(["1048577", "99999999999", "9" * 60, "-5", "0x10", "1,1", ""])
    return f"POST {path} HTTP/1.1\r\nHost: inbox\r\nContent-Length: {size}\r\n\r\nabc".encode()


def _method(rng: random.Random, path: str) -> bytes:
    method = rng.choice(["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "LINK", "BREW", "get", "POSTPOST"])
    return post(path, rng.randbytes(30), method=method)


def _path(rng: random.Random, path: str) -> bytes:
    odd = [
        "/", "//", "/../../etc/passwd", path + "/", path[:-1], path + "%00", "/" + "a" * 20_000, "/%ff%fe/%/x", "*",
        path.upper(), path.replace("/", "//"), "/mailchimp/events/" + TOKEN, "http://elsewhere" + path, "/\xff\xfe/a/b",
        path + "?" + "x=" * 1000, path + "#part", "/mailchimp/marketing/\u00e9",
    ]  # fmt: skip
    return post(rng.choice(odd), rng.randbytes(30))


def _headers(rng: random.Random, path: str) -> bytes:
    odd = [
        "X-Long: " + "a" * 40_000, "X-Mailchimp-Signature: " + "v1=" * 5_000, "X-Odd: \xff\xfe\x01", ": nameless",
        "X-Mandrill-Signature: " + "\u00e9" * 100, "Upgrade: websocket\r\nConnection: Upgrade", "Expect: 100-continue",
        "Content-Encoding: gzip", "Transfer-Encoding: gzip, chunked", "Host: other\r\nHost: third", "X-Tab:\t\tx",
        "Content-Type: multipart/form-data; boundary=", "Content-Type: application/json; charset=utf-7",
    ]  # fmt: skip
    return post(path, rng.randbytes(100), *(rng.choice(odd) for _ in range(rng.randrange(1, 3))))


def _packed(rng: random.Random, path: str) -> bytes:
    return post(path, gzip.compress(b"[" * 1_000_000), "Content-Encoding: gzip", "Content-Type: application/json")


def _no_http(rng: random.Random, path: str) -> bytes:
    return rng.choice([
        rng.randbytes(rng.randrange(1, 500)), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200),
        b"SSH-2.0-OpenSSH_9.6\r\n", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n", b"\0" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", f"POST {path}\r\n\r\n".encode(),
        f"POST  {path}  HTTP/1.1\r\n\r\n".encode(),
    ])  # fmt: skip


def _cut(rng: random.Random, path: str) -> bytes:
    whole = post(path, rng.randbytes(300), "Content-Type: application/json")
    return whole[: rng.randrange(len(whole))]


def _form(rng: random.Random, path: str) -> bytes:
    body = rng.choice([
        b"mandrill_events=", b"mandrill_events=%5B%5D", b"mandrill_events=" + b"%5B" * 5000, b"&" * 100_000,
        b"a=1&" * 50_000, b"%" * 100_000, b"type=unsubscribe&data[email]=%00%ff", b"=" * 1000, b"event=&auth=",
    ])  # fmt: skip
    return post(path, body, "Content-Type: application/x-www-form-urlencoded")


_TYPES = ["application/json", "application/x-www-form-urlencoded", "text/plain", "", "application/octet-stream", "é"]
_KINDS: dict[str, Callable[[random.Random, str], bytes]] = {
    "random body": _random_body, "deep": _deep, "mangled": _mangled, "chunked": _chunked, "bad chunks": _bad_chunks,
    "promised too much": _huge_promise, "method": _method, "path": _path, "headers": _headers, "packed": _packed,
    "no HTTP": _no_http, "cut short": _cut, "form": _form, "empty": _json(""), "null": _json("null"),
    "number": _json("1"), "endless": _json("[NaN, Infinity, -Infinity, 1e999]"),
    "digits": _json("[" + "9" * 5000 + "]"),
    "half a character": _json('[{"email": "\\ud800", "event": "open"}]'), "not UTF-8": _json('["\ud800"]'),
    "zero byte": _json('[{"email": "a\\u0000b@example.com", "event": "\\u0000"}]'),
    "wrong types": _json('[[], {}, null, 5, {"event": [], "email": {}, "timestamp": "x", "task_id": true}]'),
    "unending text": _json('["' + '\\"' * 10_000), "same key": _json('{"auth": "a", "auth": ["b"], "auth": null}'),
    "far away": _json('[{"event": "open", "email": "a@example.com", "timestamp": 99999999999999999}]'),
    "too long": _huge,
}  # fmt: skip
