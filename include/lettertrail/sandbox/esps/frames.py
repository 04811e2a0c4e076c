"""Reading the simulated world's tables into the twins."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Loading pandas takes longer than all the rest, and a restart has nothing to seed.
    import pandas as pd

    from lettertrail.sandbox.world import World

SHARE = 10
"""One in so many people of the world's mailing list is known to a smaller service as well."""


def records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows, by column name."""
    names = list(frame.columns)
    for row in frame.itertuples(index=False, name=None):
        yield dict(zip(names, row, strict=True))


def is_given(value: Any) -> bool:
    """Whether a cell holds something."""
    return isinstance(value, str) or str(value) not in {"None", "NaT", "<NA>", "nan"}


def text(value: Any) -> str:
    """A cell as text, empty when it holds nothing."""
    return str(value) if is_given(value) else ""


def listed(world: World, *, whole: bool) -> pd.DataFrame:
    """The people of the world's mailing list: all, or the share of them that a smaller service knows."""
    people = world.people[world.people["on_mailchimp"]]
    return people if whole else people[people["person"] % SHARE == 1]


def long_ago(world: World) -> pd.Timestamp:
    """A time so much before every letter of the world that what happened then can earn no credit."""
    sent: pd.Timestamp = world.letters["sent_at"].min() - timedelta(days=60)
    return sent


def events_of(world: World, sends: pd.DataFrame) -> pd.DataFrame:
    """What became of these sends, in the order of time, with the letter and address of each."""
    return world.events.merge(sends[["send", "letter", "email"]], on="send").sort_values(["occurred_at", "event"])
