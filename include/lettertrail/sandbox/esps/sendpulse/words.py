"""The numbers SendPulse speaks in, and its error answers."""

from __future__ import annotations

from lettertrail.sandbox.esps.shell import Answer, Refused

CONTACT_STATUS = {
    0: "New",
    1: "Active",
    2: "Confirmation requested",
    3: "Activation requested",
    4: "Unsubscribed",
    5: "Rejected by administration",
    6: "Unsubscribed from all",
    7: "Activation mail sent",
    8: "Blocked by user",
    9: "Sending error",
    10: "Blocked by mail host",
    11: "Blocked by sender name",
    12: "Blocked by address part",
    13: "Deleted by user",
    14: "Temporarily unavailable",
}
NEW, ACTIVE, CONFIRMING, UNSUBSCRIBED, UNSUBSCRIBED_ALL, BLOCKED, SENDING_ERROR, UNAVAILABLE = 0, 1, 2, 4, 6, 8, 9, 14
MAILABLE = (NEW, ACTIVE)
"""Counted as active (U: that a new contact counts)."""

BOOK_STATUS = {0: "Active", 1: "Deleted", 3: "Needs clarification", 4: "Blocked", 5: "Blocked"}

CAMPAIGN_NEW, CAMPAIGN_SENDING, CAMPAIGN_SENT, CAMPAIGN_CREATING, CAMPAIGN_CANCELLED, CAMPAIGN_DRAFT = (
    0,
    2,
    3,
    13,
    16,
    25,
)

DELIVERY_CODE = {
    0: "Queued",
    1: "Sent",
    2: "Delivered",
    3: "Opened",
    4: "Link followed",
    5: "Unsubscribed",
    6: "No such address",
    7: "Temporarily unavailable",
    8: "Unavailable",
    9: "Rejected as spam",
    10: "Mailbox full",
    11: "Marked as spam by the recipient",
    12: "Delivery failure",
    16: "Invalid",
    17: "Temporarily blocked",
    18: "Disabled by administration",
    20: "Already unsubscribed",
}
LADDER = {code: rung for rung, code in enumerate((0, 1, 2, 3, 4, 5, 11))}
"""The states one letter climbs through; any other code is a failure and stands above `sent` and below `opened`."""

HAPPENINGS = {
    "sent": 1,
    "delivered": 2,
    "open": 3,
    "redirect": 4,
    "unsubscribe": 5,
    "spam": 11,
    "spam_by_user": 11,
    "soft_bounces": 10,
    "hard_bounces": 6,
}
"""The webhook's words and the delivery code that each leaves behind. `sent` is never sent as a webhook."""

COMPLAINTS = ("spam", "spam_by_user")
OF_NO_LETTER = ("new_emails", "delete", "task_status_update")
"""Webhook words that are not about a recipient's letter."""

UNKNOWN_CODE = 99
"""What a word nobody knows leaves behind."""

NAME_IN_USE, BOOK_NOT_FOUND, VARIABLE_NOT_FOUND, NO_EMAILS, ADDRESS_NOT_FOUND = 203, 213, 299, 303, 502
NO_BODY, NO_SUBJECT, TOO_MANY_CAMPAIGNS, BAD_DATE, CAMPAIGN_NOT_FOUND = 720, 721, 791, 799, 802
ALREADY_BLACKLISTED, SENDER_MISSING, RATE = 904, 1003, 2020202020


def rung(code: int) -> float:
    """How far a letter has come."""
    return LADDER.get(code, 2.5)


def refused(code: int, message: str, *, status: int = 400) -> Refused:
    """The shape `{message, error_code}` with an HTTP status (U: which status goes with which code)."""
    return Refused(Answer({"message": message, "error_code": code}, status))


def error_inside(code: int, message: str) -> Refused:
    """The shape `{is_error, error_code, message}` under HTTP 200."""
    return Refused(Answer({"is_error": True, "error_code": code, "message": message}))


def invalid(message: str) -> Refused:
    """422 after a failed validation."""
    return Refused(Answer({"message": message, "error_code": 422}, 422))


def not_here() -> Refused:
    """The shape `{result: false}` under HTTP 200: nothing was done and nothing is said about why."""
    return Refused(Answer({"result": False}))
