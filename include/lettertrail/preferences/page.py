"""Draws the pages: HTML without script, picture, font or anything else from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from lettertrail.preferences.choices import Standing, Wording
from lettertrail.preferences.words import LANGUAGES, Words

SENDER = "LETTERTRAIL_PREFERENCES_SENDER"

Trouble = Literal["unknown", "failed", "refused"]
Just = Literal["", "saved", "returned", "changed"]
"""`returned`: saved by somebody who had left. `changed`: not saved, the page's text is another now."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page ready to be sent."""

    status: int
    language: str
    html: bytes


class Pages:
    """All pages of one sender."""

    def __init__(self, sender: str = "") -> None:
        """`sender`: who writes the letters, as people know them; empty when nobody said."""
        environment = Environment(
            loader=PackageLoader("lettertrail.preferences"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._template = environment.get_template("page.html")
        self._style = environment.get_template("page.css").render()
        self._titles = {code: _title(words, sender) for code, words in LANGUAGES.items()}
        self._wordings = {code: _wording(code, words, self._titles[code]) for code, words in LANGUAGES.items()}

    def headers(self) -> Mapping[str, str]:
        """What every page is sent with: nothing is kept, framed, found, followed or loaded."""
        style = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        return {
            "content-security-policy": f"default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'",
            "x-frame-options": "DENY",
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
            "x-robots-tag": "noindex, nofollow",
            "x-content-type-options": "nosniff",
            "cross-origin-opener-policy": "same-origin",
            "vary": "accept-language",
        }

    def wording(self, language: str) -> Wording:
        """The text of the preference page, as it is stored with what was chosen on it."""
        return self._wordings[language]

    def preferences(self, language: str, standing: Standing, *, just: Just = "") -> Page:
        """The page to choose on. `just`: what happened before it is shown again."""
        words = LANGUAGES[language]
        if not standing.may_return:
            return self._page(200, language, notice=words.is_final)
        if just == "changed":
            notice = words.text_changed
        elif standing.has_left:
            notice = words.left_now if just == "saved" else words.has_left
        else:
            notice = {"saved": words.saved, "returned": words.returned, "": ""}[just]
        return self._page(
            409 if just == "changed" else 200, language, form="preferences", notice=notice,
            wanted=frozenset() if standing.has_left else standing.wanted, has_left=standing.has_left,
        )  # fmt: skip

    def unsubscribe(self, language: str) -> Page:
        """One button."""
        return self._page(200, language, title=LANGUAGES[language].leave_title, form="unsubscribe")

    def unsubscribed(self, language: str) -> Page:
        """After it."""
        words = LANGUAGES[language]
        return self._page(200, language, title=words.leave_title, notice=words.left_now)

    def trouble(self, language: str, status: int, kind: Trouble) -> Page:
        """Why there is nothing to see."""
        words = LANGUAGES[language]
        title, text = {
            "unknown": (words.unknown_title, words.unknown_text),
            "failed": (words.failed_title, words.failed_text),
            "refused": (words.refused_title, words.refused_text),
        }[kind]
        return self._page(status, language, title=title, text=text)

    def _page(self, status: int, language: str, *, title: str = "", **more: Any) -> Page:
        values = {
            "language": language,
            "languages": [{"code": code, "name": words.name} for code, words in LANGUAGES.items()],
            "words": LANGUAGES[language],
            "title": title or self._titles[language],
            "version": self._wordings[language].version,
            "form": "", "notice": "", "text": "", "wanted": frozenset(), "has_left": False,
        }  # fmt: skip
        return Page(status, language, self._template.render({**values, **more}).encode())


def preferred_language(accepted: str) -> str:
    """The language to answer in, by an `Accept-Language` header (RFC 9110, 12.5.4)."""
    wishes: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted.split(",")[:20]):
        tag, _, parameter = part.strip().partition(";")
        code = tag.strip().lower().partition("-")[0]
        quality = _quality(parameter)
        if code in LANGUAGES and quality > 0:
            wishes.append((-quality, place, code))
    return min(wishes)[2] if wishes else next(iter(LANGUAGES))


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    digits = value.strip()
    return float(digits) if digits.replace(".", "", 1).isdecimal() and digits.isascii() else 0.0


def _title(words: Words, sender: str) -> str:
    return words.title_of.format(sender=sender) if sender else words.title


def _wording(code: str, words: Words, title: str) -> Wording:
    categories = [f"[ ] {name}: {explanation}" for name, explanation in words.categories.values()]
    leaving = [words.leave_title, words.leave_text, f"({words.leave})"]
    lines = [title, words.intro, words.legend, *categories, words.agreement, f"({words.save})", *leaving]
    text = "\n".join(lines)
    return Wording(f"page-{code}-{hashlib.sha256(text.encode()).hexdigest()[:12]}", code, text)
