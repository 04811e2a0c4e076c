"""What a person is searched by: addresses and numbers as people and programs spell them, and hashes made of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from lettertrail.erasure.catalogue import Table
from lettertrail.erasure.keys import ErasureKey, last_digits

_SHA_PREFIX = 12
_SEPARATORS = "[ ()-]*"
"""Between the digits of a number."""
_AT = ("@", "%40", "%2540")
"""How an address in a link, or in a link in a link, spells it."""
_TELLING = 5
"""Letters of an address before the @ that are enough to look for alone."""


@dataclass(frozen=True, slots=True)
class Token:
    """A regular expression (PostgreSQL's and Python's alike, case ignored) and what takes its place."""

    pattern: str = field(repr=False)
    instead: str
    parts: tuple[str, ...] = field(repr=False)
    """Every match holds one of these plain texts, in lower case: quicker to look for than the pattern."""
    core: str | None = field(default=None, repr=False)
    """In place of `parts` for what has no plain text: a regular expression without conditions on its surroundings."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for: `strong` marks a row as the person's, `names` are taken out of such rows only."""

    strong: tuple[Token, ...]
    names: tuple[str, ...] = field(repr=False)

    @property
    def pattern(self) -> str:
        """Any of the strong tokens."""
        return "|".join(f"(?:{token.pattern})" for token in self.strong)

    def finds(self, table: Table, row: str) -> sql.Composable:
        """The condition that a row of the table, named `row`, holds a strong token.

        Nearly no row does, so a glance comes first and the exact pattern sees what is left of it. `case` keeps that
        order: of conditions joined by `and`, PostgreSQL takes first what it thinks cheaper, and it thinks one operator
        as cheap as another.
        """
        return sql.SQL("(case when {glance} then {words} ~* {pattern} else false end)").format(
            glance=self._glance(table.words(row)), words=table.words(row), pattern=sql.Literal(self.pattern)
        )

    def _glance(self, words: sql.Composable) -> sql.Composable:
        """Whether the text may hold a token. Case is folded byte by byte wherever what is looked for is ASCII."""
        parts = sorted({part for token in self.strong for part in token.parts})
        tests = [
            sql.SQL("strpos({}, {}) > 0").format(
                sql.SQL("folded" if part.isascii() else "lower(words)"), sql.Literal(part)
            )
            for part in parts
        ]
        tests += [
            sql.SQL('words ~ {} collate "C"').format(sql.Literal(token.core))
            for token in self.strong
            if token.core is not None
        ]
        # `offset 0`: the text is made once, not once for each test.
        return sql.SQL(
            '(select {tests} from (select words, lower(words collate "C") as folded'
            " from (select {words} as words offset 0) as made offset 0) as told)"
        ).format(tests=sql.SQL(" or ").join(tests), words=words)


def search_for(key: ErasureKey, emails: Iterable[str], phones: Iterable[str], names: Sequence[str]) -> Search:
    """The tokens of a person: each address and number as people and programs spell it, and the hashes made of it.

    Services (a Mailchimp member's id) and the models (a person's id) use the MD5, plans and audits a part of SHA-256.
    """
    tokens: list[Token] = []
    for email in emails:
        pseudonym = key.email(email)
        tokens.append(Token(_email_pattern(email), pseudonym, _email_parts(email)))
        tokens += _hashes(email, pseudonym)
    for phone in phones:
        pseudonym = key.phone(phone)
        tokens.append(Token(_phone_pattern(phone), pseudonym, (), core=_SEPARATORS.join(last_digits(phone))))
        tokens += _hashes(phone, pseudonym)
    return Search(tuple(tokens), tuple(names))


def _hashes(value: str, pseudonym: str) -> list[Token]:
    made = [(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
             hashlib.sha256(text.encode()).hexdigest()) for text in (value, pseudonym)]  # fmt: skip
    (md5, sha), (other_md5, other_sha) = made
    short = sha[:_SHA_PREFIX]
    return [
        Token(rf"(?<![0-9a-f]){md5}(?![0-9a-f])", other_md5, (md5,)),
        Token(rf"(?<![0-9a-f]){short}(?![0-9a-f])", other_sha[:_SHA_PREFIX], (short,)),
        Token(rf"(?<![0-9a-f]){sha}(?![0-9a-f])", other_sha, (short,)),
    ]


def _email_pattern(email: str) -> str:
    """The address, also percent-encoded in a link; not as a part of a longer one."""
    spelled = escape(email).replace("@", "(?:@|%40|%2540)").replace(r"\+", r"(?:\+|%2B)")
    return rf"(?:(?<![a-z0-9._+%-])|(?<=%[0-9a-f][0-9a-f])){spelled}(?![a-z0-9-]|\.[a-z0-9])"


def _email_parts(email: str) -> tuple[str, ...]:
    """What is spelled the same in a link; a short name with its domain, or half the table would be looked at twice."""
    name, _, domain = email.rpartition("@")
    pieces = name.split("+")
    longest = max(pieces, key=len)
    return (longest,) if len(longest) >= _TELLING else tuple(f"{pieces[-1]}{at}{domain}" for at in _AT)


def _phone_pattern(phone: str) -> str:
    """Its last ten digits however they are set apart, and what is written before them."""
    digits = last_digits(phone)
    code = re.sub(r"\D", "", phone)[: -len(digits)] or "8"
    return rf"(?<![0-9])(?:\+?{code}{_SEPARATORS}|8{_SEPARATORS})?{_SEPARATORS.join(digits)}(?![0-9])"


def escape(text: str) -> str:
    """`re.escape` for both dialects: letters and digits stay, everything else gets a backslash."""
    return "".join(letter if letter.isalnum() or letter in "_@ " else f"\\{letter}" for letter in text)
