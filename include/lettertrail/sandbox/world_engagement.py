"""What happens to the letters: who gets them, who opens, clicks, leaves, complains; what machines do in between.

Dispatches are worked through in time order, each one as array operations over everybody, because what a letter meets
depends on what earlier letters caused. Bitrix remembers refusals per *address* (a changed address starts clean, which
is what the warehouse has to notice); Mailchimp remembers them per list member.

Times are whole seconds since 1970 in UTC, the resolution the Bitrix tables have.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lettertrail.sandbox.world_letters import (
    BITRIX_LETTERS,
    HOUR,
    NEWS,
    PROMO,
    WELCOME,
    WELCOME_LETTERS,
    WELCOME_SHIFT_MINUTES,
    Programme,
)
from lettertrail.sandbox.world_people import DAY, NEVER, Bools, Floats, Ints, Population

KINDS = ("open", "click", "unsubscribe", "complaint")
ACTORS = ("human", "apple_proxy", "scanner")
OUTCOMES = ("delivered", "failed", "hard_bounce", "soft_bounce")
OPEN, CLICK, UNSUBSCRIBE, COMPLAINT = range(4)
HUMAN, APPLE_PROXY, SCANNER = range(3)
DELIVERED, FAILED, HARD_BOUNCE, SOFT_BOUNCE = range(4)
MAILCHIMP_LIST = 0
"""The suppression row of Mailchimp, beside those of campaigns 1..3."""

SHARE_NEWS, SHARE_PROMO, SHARE_OF_SEGMENT = 0.85, 0.62, 0.55
SHARE_LATE_BOUNCE = 0.3
P_FAILED, P_SOFT_BOUNCE = 0.0015, 0.004
OPEN_LOGIT, CLICK_LOGIT = -1.9, -2.25
P_APPLE_FETCH, APPLE_MEAN_SECONDS, P_APPLE_PROMPT = 0.92, 20.0, 0.97
P_SCAN = 0.95
P_UNSUBSCRIBE_READER, P_UNSUBSCRIBE_OTHER = 0.012, 0.0005
P_COMPLAINT = 0.0003
READ_MEDIAN_SECONDS, READ_SIGMA = 4 * HOUR, 1.5
SHARE_CHANGES_MIND = 0.10
WAYS_BACK = ("consent", "consent_unflipped", "flip")
"""How somebody came back: double opt-in that flips the subscription row, one that leaves it, a flip without consent."""


@dataclass(frozen=True, slots=True)
class Engagement:
    """The frames of this part; see `world.World`."""

    sends: pd.DataFrame
    queued: pd.DataFrame
    events: pd.DataFrame
    minds: pd.DataFrame
    human_clicks: pd.DataFrame
    """First human click of each send: event, send, person, letter, occurred_at; what visits come from."""
    mailchimp_left_at: Ints
    mailchimp_cleaned_at: Ints


@dataclass(slots=True)
class _State:
    """What the mailing systems remember; addresses are rows 0 (former) and 1 (present)."""

    left_at: Ints
    """Shape (campaigns + 1, 2, people)."""
    back_at: Ints
    stopped_at: Ints
    """Complaint or permanent bounce in Bitrix, shape (2, people)."""
    cleaned_at: Ints
    """Complaint or permanent bounce in Mailchimp, shape (people,)."""


@dataclass(slots=True)
class _Tables:
    sends: list[dict[str, Ints]] = field(default_factory=list)
    queued: list[dict[str, Ints]] = field(default_factory=list)
    events: list[dict[str, Ints]] = field(default_factory=list)
    minds: list[dict[str, Ints]] = field(default_factory=list)
    send_count: int = 0


@dataclass(frozen=True, slots=True)
class _Batch:
    """The sends of one dispatch that really went out; arrays of one length."""

    letter: int
    row: int
    """Row of the suppression state: the campaign, or MAILCHIMP_LIST."""
    links: Ints
    send: Ints
    who: Ints
    slot: Ints
    sent_at: Ints


def simulate(rng: np.random.Generator, population: Population, programme: Programme, *, end: int) -> Engagement:
    """Runs all dispatches until `end`."""
    count = population.size
    state = _State(
        left_at=np.full((WELCOME + 1, 2, count), NEVER),
        back_at=np.full((WELCOME + 1, 2, count), NEVER),
        stopped_at=np.full((2, count), NEVER),
        cleaned_at=np.full(count, NEVER),
    )
    member = _membership(rng, population)
    first_link, links = _links(programme.letters)
    tables = _Tables()
    has_former = population.people["email_changed_at"].to_numpy() < NEVER
    changed_at = population.people["email_changed_at"].to_numpy()
    for dispatch in programme.dispatches.to_dict("records"):
        letter, number = int(dispatch["letter"]), int(dispatch["dispatch"])
        row = MAILCHIMP_LIST if letter > BITRIX_LETTERS else int(dispatch["campaign"])
        who, sent_at = _audience(
            rng,
            population,
            member[row],
            letter=letter,
            started_at=int(dispatch["started_at"]),
            per_second=float(dispatch["per_second"]),
        )
        slot = np.where((sent_at >= changed_at[who]) | ~has_former[who], 1, 0)
        allowed = _allowed(state, row, who, slot=slot, sent_at=sent_at)
        who, sent_at, slot = who[allowed], sent_at[allowed], slot[allowed]
        late = sent_at >= end
        if late.any():
            tables.queued.append(_columns(letter=letter, person=who[late] + 1, slot=slot[late], dispatch=number))
        who, sent_at, slot = who[~late], sent_at[~late], slot[~late]
        send = tables.send_count + np.arange(1, len(who) + 1)
        tables.send_count += len(who)
        outcome, bounced_at = _outcomes(rng, population, state, row=row, who=who, slot=slot, sent_at=sent_at, end=end)
        tables.sends.append(
            _columns(
                send=send,
                dispatch=number,
                letter=letter,
                person=who + 1,
                slot=slot,
                sent_at=sent_at,
                outcome=outcome,
                bounced_at=bounced_at,
            )
        )
        ok = outcome == DELIVERED
        batch = _Batch(
            letter=letter,
            row=row,
            links=np.arange(first_link[letter - 1], first_link[letter]),
            send=send[ok],
            who=who[ok],
            slot=slot[ok],
            sent_at=sent_at[ok],
        )
        _engage(rng, population, programme, state=state, tables=tables, batch=batch, end=end)
    return _frames(population, programme, tables, state, links=links)


def _membership(rng: np.random.Generator, population: Population) -> Bools:
    """Who is in which campaign's segment; shape (campaigns + 1, people)."""
    count = population.size
    on_bitrix = population.people["on_bitrix"].to_numpy(bool)
    member = np.zeros((WELCOME + 1, count), dtype=bool)
    member[MAILCHIMP_LIST] = population.people["on_mailchimp"].to_numpy(bool)
    member[NEWS] = on_bitrix & (rng.random(count) < SHARE_NEWS)
    member[PROMO] = on_bitrix & (rng.random(count) < SHARE_PROMO)
    member[WELCOME] = on_bitrix
    return member


def _links(letters: pd.DataFrame) -> tuple[Ints, list[str]]:
    """All links in one list, and where each letter's begin (one more entry than letters)."""
    counts = [len(urls) for urls in letters["urls"]]
    return np.concatenate([[0], np.cumsum(counts)]), [url for urls in letters["urls"] for url in urls]


def _audience(
    rng: np.random.Generator,
    population: Population,
    member: Bools,
    *,
    letter: int,
    started_at: int,
    per_second: float,
) -> tuple[Ints, Ints]:
    """Whom the dispatch is for (indexes) and when each one's turn comes."""
    created = population.people["created_at"].to_numpy()
    if letter <= WELCOME_LETTERS:
        joined = (created >= started_at) & (created < started_at + 30 * DAY)
        who = np.flatnonzero(member & joined)
        sent_at = created[who] + WELCOME_SHIFT_MINUTES[letter - 1] * 60
        return who, sent_at
    chosen = member & (created < started_at) & (rng.random(population.size) < _share(letter))
    who = rng.permutation(np.flatnonzero(chosen))
    if letter == BITRIX_LETTERS:
        # The last letter is throttled, so that the world ends while a part of it still waits.
        seconds = np.arange(len(who)) * (3 * HOUR / 0.65) / max(1, len(who))
    else:
        seconds = np.arange(len(who)) / per_second
    return who, (started_at + seconds).astype(np.int64)


def _share(letter: int) -> float:
    return 0.92 if letter > BITRIX_LETTERS else SHARE_OF_SEGMENT


def _allowed(state: _State, row: int, who: Ints, *, slot: Ints, sent_at: Ints) -> Bools:
    """Nobody gets a letter after leaving that campaign, complaining or bouncing."""
    if row == MAILCHIMP_LIST:
        left, back = state.left_at[row, 1, who], state.back_at[row, 1, who]
        stopped = state.cleaned_at[who]
    else:
        left, back = state.left_at[row, slot, who], state.back_at[row, slot, who]
        stopped = state.stopped_at[slot, who]
    allowed: Bools = ((left > sent_at) | (back <= sent_at)) & (stopped > sent_at)
    return allowed


def _outcomes(
    rng: np.random.Generator,
    population: Population,
    state: _State,
    *,
    row: int,
    who: Ints,
    slot: Ints,
    sent_at: Ints,
    end: int,
) -> tuple[Ints, Ints]:
    draw = rng.random(len(who))
    delay = np.where(rng.random(len(who)) < SHARE_LATE_BOUNCE, rng.lognormal(np.log(2 * HOUR), 1.0, len(who)), 0)
    dead = population.dies_at[slot, who] <= sent_at
    bounced_at = np.where(dead, sent_at + delay.astype(np.int64), NEVER)
    dead &= bounced_at < end  # a bounce nobody has heard of yet is a delivery
    outcome = np.where(draw < P_SOFT_BOUNCE, SOFT_BOUNCE, DELIVERED)
    if row != MAILCHIMP_LIST:
        outcome = np.where(draw > 1 - P_FAILED, FAILED, outcome)
    outcome = np.where(dead, HARD_BOUNCE, outcome)
    bounced_at = np.where(dead, bounced_at, NEVER)
    if row == MAILCHIMP_LIST:
        state.cleaned_at[who[dead]] = bounced_at[dead]
    else:
        state.stopped_at[slot[dead], who[dead]] = bounced_at[dead]
    return outcome, bounced_at


def _engage(
    rng: np.random.Generator,
    population: Population,
    programme: Programme,
    *,
    state: _State,
    tables: _Tables,
    batch: _Batch,
    end: int,
) -> None:
    machine_open = _machines(rng, population, tables, batch, end=end)
    reads, read_at = _readers(rng, population, programme, batch, end=end)
    pixel = reads & ~population.images_blocked[batch.who]
    # Apple keeps the picture it fetched, so its users' own reading rarely loads it again.
    apple = population.people["apple_mail"].to_numpy(bool)[batch.who]
    pixel &= ~apple | (rng.random(len(reads)) < 0.3)
    _add(tables, batch, pixel, what=(OPEN, HUMAN), at=read_at, end=end)
    again = pixel & (rng.random(len(reads)) < 0.3)
    _add(tables, batch, again, what=(OPEN, HUMAN), at=read_at + _lognormal(rng, len(reads), 9 * HOUR, 1.2), end=end)

    clicks = reads & (
        _sigmoid(CLICK_LOGIT + 0.5 * population.engagement[batch.who] + programme.click_appeal[batch.letter - 1])
        > rng.random(len(reads))
    )
    clicked_at = read_at + rng.integers(4, 150, len(reads))
    clicks &= clicked_at < end
    # Bitrix and Mailchimp both write an open of the same moment when a click is the first sign of life.
    unseen = clicks & ~pixel & (machine_open > clicked_at)
    _add(tables, batch, unseen, what=(OPEN, HUMAN), at=clicked_at, end=end)
    _add(tables, batch, clicks, what=(CLICK, HUMAN), at=clicked_at, end=end, link=_pick(rng, batch.links, len(reads)))
    more = clicks & (rng.random(len(reads)) < 0.3)
    _add(
        tables,
        batch,
        more,
        what=(CLICK, HUMAN),
        at=clicked_at + rng.integers(20, 900, len(reads)),
        end=end,
        link=_pick(rng, batch.links, len(reads)),
    )
    _departures(rng, state, tables, batch, reads=reads, read_at=read_at, end=end)


def _readers(
    rng: np.random.Generator, population: Population, programme: Programme, batch: _Batch, *, end: int
) -> tuple[Bools, Ints]:
    size = len(batch.who)
    chance = _sigmoid(OPEN_LOGIT + 0.9 * population.engagement[batch.who] + programme.open_appeal[batch.letter - 1])
    read_at = batch.sent_at + np.maximum(25, _lognormal(rng, size, READ_MEDIAN_SECONDS, READ_SIGMA))
    return (rng.random(size) < chance) & (read_at < end), read_at


def _machines(rng: np.random.Generator, population: Population, tables: _Tables, batch: _Batch, *, end: int) -> Ints:
    """Apple's proxy and corporate link scanners; gives the time of the first machine open (NEVER if none)."""
    size = len(batch.who)
    apple = population.people["apple_mail"].to_numpy(bool)[batch.who] & (rng.random(size) < P_APPLE_FETCH)
    prompt = rng.random(size) < P_APPLE_PROMPT
    wait = np.where(prompt, rng.exponential(APPLE_MEAN_SECONDS, size), rng.uniform(60, 6 * HOUR, size))
    apple_at = batch.sent_at + 1 + wait.astype(np.int64)
    _add(tables, batch, apple, what=(OPEN, APPLE_PROXY), at=apple_at, end=end)

    scanned = population.people["corporate_scanner"].to_numpy(bool)[batch.who] & (rng.random(size) < P_SCAN)
    scan_at = batch.sent_at + rng.integers(1, 6, size)
    _add(tables, batch, scanned, what=(OPEN, SCANNER), at=scan_at, end=end)
    for link in batch.links:
        link_at = scan_at + rng.integers(0, 10, size)
        _add(tables, batch, scanned, what=(CLICK, SCANNER), at=link_at, end=end, link=np.full(size, link))
    first = np.full(size, NEVER)
    first = np.where(apple & (apple_at < end), apple_at, first)
    return np.where(scanned & (scan_at < end), np.minimum(first, scan_at), first)


def _departures(
    rng: np.random.Generator,
    state: _State,
    tables: _Tables,
    batch: _Batch,
    *,
    reads: Bools,
    read_at: Ints,
    end: int,
) -> None:
    size = len(batch.who)
    slot = np.ones(size, dtype=np.int64) if batch.row == MAILCHIMP_LIST else batch.slot
    draw = rng.random(size)
    leaves = draw < np.where(reads, P_UNSUBSCRIBE_READER, P_UNSUBSCRIBE_OTHER)
    complains = rng.random(size) < np.where(reads, 4 * P_COMPLAINT, P_COMPLAINT / 4)
    left_at = np.where(reads, read_at + rng.integers(5, 200, size), batch.sent_at + rng.integers(600, 2 * DAY, size))
    still_in = (state.left_at[batch.row, slot, batch.who] > left_at) | (
        state.back_at[batch.row, slot, batch.who] <= batch.sent_at
    )
    leaves = (leaves | complains) & still_in & (left_at < end)
    complains &= leaves
    only_complains = complains & (batch.row == MAILCHIMP_LIST)
    _add(tables, batch, leaves & ~only_complains, what=(UNSUBSCRIBE, HUMAN), at=left_at, end=end)
    _add(tables, batch, complains, what=(COMPLAINT, HUMAN), at=left_at, end=end)
    who, where = batch.who[leaves], slot[leaves]
    state.left_at[batch.row, where, who] = left_at[leaves]
    state.back_at[batch.row, where, who] = NEVER
    if batch.row == MAILCHIMP_LIST:
        state.cleaned_at[batch.who[complains]] = left_at[complains]
    else:
        state.stopped_at[slot[complains], batch.who[complains]] = left_at[complains]
        some = leaves & (rng.random(size) < SHARE_CHANGES_MIND)
        _change_minds(rng, state, tables, batch=batch, some=some, left_at=left_at, end=end)


def _change_minds(
    rng: np.random.Generator,
    state: _State,
    tables: _Tables,
    *,
    batch: _Batch,
    some: Bools,
    left_at: Ints,
    end: int,
) -> None:
    size = int(some.sum())
    at = left_at[some] + rng.integers(20 * DAY, 150 * DAY, size)
    how = rng.choice(len(WAYS_BACK), size, p=[0.5, 0.25, 0.25])
    in_time = at < end
    who, slot = batch.who[some][in_time], batch.slot[some][in_time]
    at, how = at[in_time], how[in_time]
    tables.minds.append(
        _columns(person=who + 1, slot=slot, campaign=batch.row, at=at, how=how, send=batch.send[some][in_time])
    )
    flips = how != WAYS_BACK.index("consent_unflipped")
    state.back_at[batch.row, slot[flips], who[flips]] = at[flips]


def _add(
    tables: _Tables,
    batch: _Batch,
    chosen: Bools,
    *,
    what: tuple[int, int],
    at: Ints,
    end: int,
    link: Ints | None = None,
) -> None:
    chosen = chosen & (at < end)
    none = np.full(len(chosen), -1)
    tables.events.append(
        _columns(
            send=batch.send[chosen],
            kind=what[0],
            occurred_at=at[chosen],
            link=(none if link is None else link)[chosen],
            actor=what[1],
        )
    )


def _pick(rng: np.random.Generator, links: Ints, size: int) -> Ints:
    """The first link draws half of the clicks."""
    weights = np.concatenate([[0.5], np.full(len(links) - 1, 0.5 / (len(links) - 1))])
    return rng.choice(links, size, p=weights)


def _lognormal(rng: np.random.Generator, size: int, median: float, sigma: float) -> Ints:
    return np.minimum(rng.lognormal(np.log(median), sigma, size), 400.0 * DAY).astype(np.int64)


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _columns(**values: object) -> dict[str, Ints]:
    """Arrays of one length, scalars repeated."""
    size = max(len(value) for value in values.values() if isinstance(value, np.ndarray))
    return {name: value if isinstance(value, np.ndarray) else np.full(size, value) for name, value in values.items()}


def _stack(parts: list[dict[str, Ints]], names: tuple[str, ...]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame({name: np.array([], dtype=np.int64) for name in names})
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in names})


def _frames(
    population: Population, programme: Programme, tables: _Tables, state: _State, *, links: list[str]
) -> Engagement:
    sends = _stack(tables.sends, ("send", "dispatch", "letter", "person", "slot", "sent_at", "outcome", "bounced_at"))
    events = _stack(tables.events, ("send", "kind", "occurred_at", "link", "actor"))
    events = events.sort_values(["occurred_at", "send", "kind", "actor", "link"], kind="stable").reset_index(drop=True)
    events.insert(0, "event", np.arange(1, len(events) + 1))
    human = events[(events["kind"] == CLICK) & (events["actor"] == HUMAN)].drop_duplicates("send")
    human_clicks = human[["event", "send", "occurred_at"]].copy()
    position = human["send"].to_numpy() - 1
    human_clicks["person"] = sends["person"].to_numpy()[position]
    human_clicks["letter"] = sends["letter"].to_numpy()[position]

    addresses = _address_book(population)
    names = np.array([*links, None], dtype=object)
    events["url"] = pd.array(names[events["link"].to_numpy()], dtype="string")
    for column, words in (("kind", KINDS), ("actor", ACTORS)):
        events[column] = pd.Categorical.from_codes(events[column].to_numpy(), categories=pd.Index(words))
    for frame in (
        sends,
        queued := _stack(tables.queued, ("dispatch", "letter", "person", "slot")),
        minds := _stack(tables.minds, ("person", "slot", "campaign", "at", "how", "send")),
    ):
        frame["email"] = addresses[frame["slot"].to_numpy(), frame["person"].to_numpy() - 1]
    sends["outcome"] = pd.Categorical.from_codes(sends["outcome"].to_numpy(), categories=pd.Index(OUTCOMES))
    minds["how"] = pd.Categorical.from_codes(minds["how"].to_numpy(), categories=pd.Index(WAYS_BACK))
    return Engagement(
        sends=sends,
        queued=queued,
        events=events[["event", "send", "kind", "occurred_at", "url", "actor"]],
        minds=minds.sort_values(["at", "person"]).reset_index(drop=True),
        human_clicks=human_clicks,
        mailchimp_left_at=state.left_at[MAILCHIMP_LIST, 1],
        mailchimp_cleaned_at=state.cleaned_at,
    )


def _address_book(population: Population) -> np.ndarray[tuple[int, int], np.dtype[np.object_]]:
    people = population.people
    return np.array(
        [people["former_email"].fillna("").to_numpy(object), people["email"].to_numpy(object)], dtype=object
    )
