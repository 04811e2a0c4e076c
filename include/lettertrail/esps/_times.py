"""Times of services that write them without a zone, in the zone of the account."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lettertrail.errors import ConfigurationError


def zone_of(name: str, conn_id: str) -> ZoneInfo:
    """The zone named in option `timezone`.

    Raises:
        ConfigurationError: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(
            f"option timezone of connection {conn_id!r} is no time zone; write it like Europe/Kyiv"
        ) from None


def utc(text: object, zone: ZoneInfo) -> datetime | None:
    """Aware UTC; None for an absent, a zero or an impossible date, which stays readable in the payload.

    An hour that the clock shows twice is taken as the first of the two. A time that names its offset keeps it.
    """
    try:
        moment = datetime.fromisoformat(str(text or "").strip())
    except ValueError:
        return None
    return (moment.replace(tzinfo=zone) if moment.tzinfo is None else moment).astimezone(UTC)


def local(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the account's clock shows, without a zone and without fractions."""
    return moment.astimezone(zone).replace(tzinfo=None, microsecond=0)
