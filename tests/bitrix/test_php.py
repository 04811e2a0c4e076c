"""PHP's serialized values become JSON, or are refused; nothing else ever happens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lettertrail.bitrix import php
from lettertrail.bitrix.php import to_json
from lettertrail.errors import PhpSyntaxError
from lettertrail.sandbox.php import serialize


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"N;", None),
        (b"b:1;", True),
        (b"b:0;", False),
        (b"i:-5;", -5),
        (b"i:9223372036854775807;", 9223372036854775807),
        (b"d:0.10000000000000001;", 0.1),
        (b"d:1.0E+25;", 1e25),
        (b"d:-.5;", -0.5),
        (b"d:NAN;", None),
        (b"d:-INF;", None),
        (b"d:1e999;", None),
        (b's:0:"";', ""),
        (b's:5:"a";b:";', 'a";b:'),
        ('s:13:"Анна 🌸";'.encode(), "Анна 🌸"),
        (b's:4:"\xc0\xed\xed\xe0";', "Анна"),
        (b's:1:"\x98";', "\N{REPLACEMENT CHARACTER}"),
        (b's:3:"a\0b";', "ab"),
        (rb'S:3:"a\00\62";', "ab"),
        (b"a:0:{}", []),
        (b'a:2:{i:0;s:1:"x";i:1;N;}', ["x", None]),
        (b'a:2:{i:1;s:1:"x";i:0;N;}', {"1": "x", "0": None}),
        (b'a:2:{i:5;i:1;s:2:"07";i:2;}', {"5": 1, "07": 2}),
        (b"a:2:{i:5;i:1;i:5;i:2;}", {"5": 2}),
        (b"a:2:{i:0;a:1:{i:0;i:1;}i:1;R:2;}", [[1], None]),
        (b'O:8:"stdClass":2:{s:1:"a";i:1;s:1:"b";r:1;}', {"__class": "stdClass", "a": 1, "b": None}),
        (
            b'O:3:"A\\B":4:{s:6:"\0A\\B\0x";i:1;s:4:"\0*\0y";i:2;s:4:"\0C\0x";i:3;s:7:"__class";i:4;}',
            {"__class": "A\\B", "x": 1, "y": 2, "C::x": 3},
        ),
        (b'C:11:"ArrayObject":7:{x:i:0;}}', {"__class": "ArrayObject", "__data": "x:i:0;}"}),
        (b'E:11:"Suit:Hearts";', {"__class": "Suit", "__case": "Hearts"}),
    ],
)
def test_every_kind_of_value_is_read(data: bytes, expected: object) -> None:
    """Lengths are bytes; objects are arrays with a class; what JSON cannot say is null."""
    assert json.loads(to_json(data)) == expected
    assert type(json.loads(to_json(data))) is type(expected)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" N;",
        b"N;\n",
        b"N;N;",
        b"i:;",
        b"i:1",
        b"i:1e5;",
        b"i:" + b"9" * 5000 + b";",
        b"d:;",
        b"d:0x1p3;",
        b"b:2;",
        b's:2:"abc";',
        b's:4:"abc";',
        b's:-1:"";',
        b's:999999999:"abc";',
        b"a:1:{}",
        b"a:0:{i:0;N;}",
        b"a:1:{N;N;}",
        b"a:1:{d:1;N;}",
        b"a:999999999:{i:0;N;}",
        b'O:8:"stdClass":{}',
        b'C:1:"A":9:{}',
        rb'S:2:"a\zz";',
        b"array (",
        b'{"a": 1}',
        b"EMAIL_TO=x&SUBJECT=y",
    ],
)
def test_what_php_does_not_write_is_refused(data: bytes) -> None:
    """Broken lengths, missing ends, anything behind the value and other formats raise PhpSyntaxError."""
    with pytest.raises(PhpSyntaxError):
        to_json(data)


def test_depth_and_size_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred levels are read, one more is refused, and so is a text over the limit."""
    for depth, is_fine in ((php.MAX_DEPTH, True), (php.MAX_DEPTH + 1, False), (200_000, False)):
        data = b"a:1:{i:0;" * depth + b"N;" + b"}" * depth
        if is_fine:
            assert to_json(data).count("[") == depth
        else:
            with pytest.raises(PhpSyntaxError, match="nested deeper"):
                to_json(data)
    monkeypatch.setattr(php, "MAX_BYTES", 9)
    assert to_json(b's:2:"ab";') == '"ab"'
    with pytest.raises(PhpSyntaxError, match="longer than 9 bytes"):
        to_json(b's:3:"abc";')


def test_a_value_of_a_converted_site_is_read() -> None:
    """The text was turned into UTF-8, the lengths in it still count cp1251; mixed lengths are refused."""
    converted = 'a:1:{s:3:"имя";s:4:"Анна";}'.encode()
    assert json.loads(to_json(converted)) == {"имя": "Анна"}
    with pytest.raises(PhpSyntaxError, match="byte 10 is not 3 bytes"):
        to_json('a:1:{s:3:"имя";s:8:"Анна";}'.encode())


def test_no_error_repeats_the_text() -> None:
    """Columns hold personal data, and messages end in logs."""
    with pytest.raises(PhpSyntaxError) as caught:
        to_json(b's:10:"anna@example.com";')
    assert "anna" not in str(caught.value)


keys = st.integers(-(2**63), 2**63 - 1) | st.text()
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner),
    max_leaves=20,
)  # fmt: skip


def as_php_has_it(value: Any) -> Any:
    """What is left of a Python value in PHP and jsonb: text keys, lists by their keys, no zero bytes."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        items: dict[str, Any] = {}
        for key, inner in value.items():
            name = str(key)
            if name.startswith("\0"):
                owner, _, name = name[1:].partition("\0")
                name = name.replace("\0", "")
                name = name if name not in items else f"{owner}::{name}"
            items[name.replace("\0", "")] = as_php_has_it(inner)
        in_order = list(items) == [str(number) for number in range(len(items))]
        return list(items.values()) if in_order else items
    return value


@given(values)
def test_what_php_wrote_comes_back(value: Any) -> None:
    """Any nesting of plain values survives the round trip, to the last digit."""
    assert json.loads(to_json(serialize(value).encode())) == as_php_has_it(value)


@given(st.binary() | st.text(alphabet='aNbisdOCSERr:;{}"0123456789.-\\\0').map(str.encode))
@example(b'C:1:"')
@example(b'E:1:"a";')
@example(b's:1:"\xff";')
def test_no_bytes_do_anything_but_parse_or_be_refused(data: bytes) -> None:
    """Arbitrary bytes give JSON without zero characters, or PhpSyntaxError."""
    try:
        text = to_json(data)
    except PhpSyntaxError:
        return
    json.loads(text)
    assert "\\u0000" not in text


@given(values, st.data())
def test_a_damaged_value_does_not_do_anything_else_either(value: Any, data: st.DataObject) -> None:
    """One byte changed, removed or doubled anywhere: JSON or PhpSyntaxError."""
    whole = serialize(value).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    instead = data.draw(st.sampled_from([b"", whole[at : at + 1] * 2, b"9", b"\xff", b"\0", b"}", b'"', b":"]))
    try:
        json.loads(to_json(whole[:at] + instead + whole[at + 1 :]))
    except PhpSyntaxError:
        return
