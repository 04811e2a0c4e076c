"""Single letters: what an error says about the letter, the same for every service."""

from __future__ import annotations

from collections.abc import Mapping

from lettertrail.errors import (
    ApiError,
    ComplianceRefusal,
    Duplicate,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
    Unreachable,
)
from lettertrail.esps.port import Evidence, Letter, Sending, Sent

ONE_CLICK = "List-Unsubscribe=One-Click"
"""The value of `List-Unsubscribe-Post` (RFC 8058)."""


def list_headers(letter: Letter) -> dict[str, str]:
    """The letter's own headers, and those that let a mail program unsubscribe with one click."""
    headers = dict(letter.headers)
    if letter.unsubscribe_url:
        headers |= {"List-Unsubscribe": f"<{letter.unsubscribe_url}>", "List-Unsubscribe-Post": ONE_CLICK}
    return headers


def unsent(letter: Letter, error: ApiError, proof: Mapping[str, Evidence]) -> Sent:
    """What became of a letter whose call failed: refused for certain, or perhaps on its way.

    Args:
        letter: the letter.
        error: how the call failed.
        proof: codes of refusals that are evidence → what they prove.

    Raises:
        ApiError: an error about the account and not about this letter, such as a refused key.
    """
    if isinstance(error, Duplicate):
        return Sent(letter.key, "accepted", reason="taken a moment ago")
    if isinstance(error, RequestRejected):
        shown = error.evidence if isinstance(error, ComplianceRefusal) else None
        reason = error.code or shown or "refused"
        return Sent(letter.key, "rejected", reason=reason, evidence=proof.get(reason))
    if isinstance(error, RateLimited):
        # 429 is the one answer that says the letter was not taken.
        is_refused = error.status == 429
        status: Sending = "rejected" if is_refused else "unknown"
        return Sent(letter.key, status, reason="too many requests", is_passing=is_refused)
    if isinstance(error, Unreachable):
        return Sent(letter.key, "rejected", reason="no connection", is_passing=True)
    if isinstance(error, TemporaryApiError):
        return Sent(letter.key, "unknown", reason="no answer")
    raise error
