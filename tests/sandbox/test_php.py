"""The PHP serializer counts bytes and keeps PHP's array keys."""

from __future__ import annotations

import pytest

from lettertrail.sandbox.php import PhpObject, private, protected, serialize


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "N;"),
        (True, "b:1;"),
        (-5, "i:-5;"),
        (0.5, "d:0.5;"),
        ("abc", 's:3:"abc";'),
        ("Анна 🌸", 's:13:"Анна 🌸";'),
        ('кавычка"', 's:15:"кавычка"";'),
        ({}, "a:0:{}"),
        (["x", None], 'a:2:{i:0;s:1:"x";i:1;N;}'),
        ({"CRM_CONTACT_ID": "7", 3: {"a": 1}}, 'a:2:{s:14:"CRM_CONTACT_ID";s:1:"7";i:3;a:1:{s:1:"a";i:1;}}'),
    ],
)
def test_values_are_written_as_php_writes_them(value: object, expected: str) -> None:
    """Lengths are bytes of UTF-8, not characters."""
    assert serialize(value) == expected


@pytest.mark.parametrize(
    ("key", "expected"), [("7", "i:7;"), ("-3", "i:-3;"), ("07", 's:2:"07";'), ("-0", 's:2:"-0";')]
)
def test_numeric_keys_become_integers_only_in_canonical_form(key: str, expected: str) -> None:
    """PHP turns "7" into 7 as an array key and leaves "07" alone."""
    assert serialize({key: None}) == f"a:1:{{{expected}N;}}"


@pytest.mark.parametrize("value", [object(), b"bytes", {1.5: "x"}, {True: "x"}])
def test_what_php_has_no_plain_form_for_is_refused(value: object) -> None:
    """Nothing is guessed: bytes, objects and odd keys raise TypeError."""
    with pytest.raises(TypeError):
        serialize(value)


def test_hidden_properties_of_an_object_carry_zero_bytes() -> None:
    """A private property stands behind its class, a protected one behind a star; the zero bytes count."""
    value = PhpObject("Дата", {"a": 1, protected("b"): None, private("Дата", "c"): ["x"]})
    assert serialize({"at": value}) == (
        'a:1:{s:2:"at";O:8:"Дата":3:{s:1:"a";i:1;s:4:"\0*\0b";N;s:11:"\0Дата\0c";a:1:{i:0;s:1:"x";}}}'
    )
