"""Conversions against the raw tables, and the ledger of credit through edits, merges and shuffled histories."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import psycopg
import pytest
from tests.conftest import WORLD_AS_OF
from tests.dbt.conftest import Built, copy_of_the_built
from tests.dbt.dbt_runs import RepeatedDbt, new_load
from tests.dbt.independent import Figures, figures
from tests.dbt.independent_credits import LOOKBACK, MODELS, ROUNDED, Conversion, Touch, credited
from tests.dbt.marts_agree import credits_agree, same_credits

from lettertrail.warehouse.embedded import EmbeddedPostgres

LEDGER_MODELS = (
    "int_touch_changes int_conversion_changes int_conversion_inputs int_touches_ranked fct_attribution_ledger"
    " fct_attribution_credits fct_letter_conversions"
)
FROM_CARDS = "int_deals int_orders int_conversions"
WON = """
    select source_id, amount from marts.fct_conversions
    where conversion_type = 'deal_won'
    order by source_id limit 2
"""
PAID = """
    select source_id, amount from marts.fct_conversions
    where conversion_type = 'order_paid' and amount > 0
    order by source_id limit 1
"""
EDITS = (
    "update raw_bitrix.b_crm_deal set opportunity_account = opportunity_account + 100 where id = {deal}",
    "update raw_bitrix.b_crm_deal set stage_semantic_id = 'P', stage_id = 'EXECUTING' where id = {reopened}",
    "update raw_bitrix.b_sale_order_payment set paid = 'N', is_return = 'P' where order_id = {order}",
    "update raw_bitrix.b_sale_order set payed = 'N', sum_paid = 0 where id = {order}",
)
KEPT = (
    "intermediate.int_touch_changes",
    "intermediate.int_conversion_changes",
    "intermediate.int_conversion_inputs",
    "intermediate.int_touches_ranked",
    "marts.fct_attribution_ledger",
    "marts.fct_letter_conversions",
)
"""What the models of credit keep from run to run."""
DAY = timedelta(days=1)
EDITED_AT = datetime.combine(WORLD_AS_OF, time(), UTC) + DAY
MERGED_AT = EDITED_AT + DAY
T0 = datetime(2026, 3, 1, tzinfo=UTC)
SHUFFLES = 6
STEPS = 3
SLACK = {"credit": Fraction(2, 10**10), "amount": Fraction(2, 100)}


# --- conversions ----------------------------------------------------------------------------------


def test_conversions_agree(built: Built, from_raw: Figures) -> None:
    """Every conversion of every type: its time, value and refund as the raw tables have them, and the same people."""
    rows = {row["conversion_id"]: row for row in built.rows("select * from marts.fct_conversions")}
    wanted = {each.conversion: each for each in from_raw.conversions}
    assert rows.keys() == wanted.keys()
    assert {row["conversion_type"] for row in rows.values()} == set(LOOKBACK)
    people: dict[object, set[object]] = defaultdict(set)
    for key, row in rows.items():
        found = (row["converted_at"], row["amount"], row["refunded_amount"])
        assert found == (wanted[key].at, wanted[key].amount, wanted[key].refunded), key
        people[wanted[key].person].add(row["person_id"])
    assert people.pop(None, {None}) == {None}
    assert all(len(found) == 1 for found in people.values())
    assert len({next(iter(found)) for found in people.values()}) == len(people) > 20


def test_sales_are_counted_once(built: Built) -> None:
    """Some orders belong to won deals and some do not; only these are revenue beside the deals."""
    kinds = {
        (row["conversion_type"], row["is_revenue"])
        for row in built.rows("select distinct conversion_type, is_revenue from marts.fct_conversions")
    }
    assert {("deal_won", True), ("order_paid", True), ("order_paid", False)} <= kinds
    assert not {kind for kind, is_revenue in kinds if is_revenue} - {"deal_won", "order_paid"}


def test_a_deals_story_ends_with_its_win(built: Built) -> None:
    """Steps are in order, the win is the last one, and each model's credits beside the touches sum to 1."""
    rows = built.rows(
        """
        select deal_id, (array_agg(step order by step_number desc))[1] as last_step,
            bool_and(happened_at >= before) as in_order, sum(credit_linear) as linear, sum(credit_w_shape) as w_shape
        from (
            select *, lag(happened_at, 1, happened_at) over (partition by deal_id order by step_number) as before
            from marts.mart_deal_explained
        ) as steps
        where deal_id in (select source_id from marts.fct_conversions where conversion_type = 'deal_won')
        group by deal_id
        """
    )
    assert len(rows) > 5
    assert all(row["in_order"] for row in rows)
    assert {row["last_step"] for row in rows} == {"deal_won"}
    sums = {(row["linear"], row["w_shape"]) for row in rows}
    assert (1, 1) in sums
    assert sums <= {(1, 1), (None, None)}


# --- the ledger, through shuffled histories --------------------------------------------------------


@dataclass
class State:
    """What the models of credit read: conversions, and touches by their id."""

    conversions: dict[str, Conversion] = field(default_factory=dict)
    touches: dict[str, tuple[str, Touch]] = field(default_factory=dict)

    def credits(self) -> dict[str, tuple[str | None, Fraction, Fraction]]:
        """Every credit by its id: the touch, its part and its amount; by brute force."""
        found: dict[str, tuple[str | None, Fraction, Fraction]] = {}
        for each in self.conversions.values():
            earliest = each.at - LOOKBACK[each.kind]
            own = sorted(
                (touch.at, key, touch)
                for key, (person, touch) in self.touches.items()
                if person == each.person and earliest <= touch.at <= each.at
            )
            for model in MODELS:
                start = f"{each.conversion}:{model}"
                if not own:
                    found[f"{start}:0"] = (None, Fraction(1), Fraction(each.amount))
                    continue
                parts = credited(model, each, [touch for _, _, touch in own])
                for index, ((_, key, _), part) in enumerate(zip(own, parts, strict=True), start=1):
                    found[f"{start}:{index}"] = (key, *part)
        return found


Change = Callable[[State], None]


def first_state(world: int, chance: random.Random) -> State:
    """Twelve people, their touches of several channels, and conversions of several types."""
    state = State()
    for number in range(60):
        at = T0 - timedelta(hours=chance.randrange(100 * 24))
        touch = Touch(at, chance.choice(["email", "email", "cpc", "direct"]))
        state.touches[f"{world}-t{number:03d}"] = (f"{world}-p{chance.randrange(12)}", touch)
    for number in range(30):
        kind = chance.choice(["lead_created", "deal_won", "order_paid"])
        at = T0 - timedelta(hours=chance.randrange(60 * 24))
        made = at - timedelta(hours=chance.randrange(30 * 24))
        state.conversions[f"{kind}:{world}-{number}"] = Conversion(
            f"{kind}:{world}-{number}",
            f"{world}-p{chance.randrange(12)}" if number else None,  # type: ignore[arg-type]
            at,
            Decimal(chance.randrange(1, 100_000)) / 100,
            lead_at=made - DAY if kind == "deal_won" and number % 2 else None,
            deal_at=made if kind != "lead_created" else None,
        )
    return state


def changes(state: State, world: int) -> list[Change]:
    """Edits that may come in any order: each has things of its own."""

    def edited(key: str, **values: object) -> Change:
        return lambda now: now.conversions.update({key: replace(now.conversions[key], **values)})  # type: ignore[arg-type]

    def reopened(key: str) -> Change:
        return lambda now: now.conversions.pop(key) and None

    def clicked(number: int, person: str, at: datetime) -> Change:
        return lambda now: now.touches.update({f"{world}-late{number}": (person, Touch(at))})

    def unseen(key: str) -> Change:
        return lambda now: now.touches.pop(key) and None

    keys = list(state.conversions)
    people = [f"{world}-p{number}" for number in range(12)]
    some_touch = next(iter(state.touches))
    done: list[Change] = [edited(key, amount=Decimal("777.77")) for key in keys[1:4]]
    done += [edited(key, at=state.conversions[key].at + 9 * DAY) for key in keys[4:7]]
    done += [edited(key, person=people[0]) for key in keys[7:9]]
    done += [reopened(key) for key in keys[9:11]]
    done += [clicked(number, people[number], T0 - (5 * number + 1) * DAY) for number in range(4)]
    done += [unseen(some_touch), edited(keys[11], amount=Decimal(0)), edited(keys[12], person=None)]
    return done


def merged(state: State, world: int) -> None:
    """Two people turn out to be one; last, because it touches what the others touch."""
    gone, kept = f"{world}-p10", f"{world}-p11"
    for key, each in state.conversions.items():
        if each.person == gone:
            state.conversions[key] = replace(each, person=kept)  # type: ignore[arg-type]
    for key, (person, touch) in state.touches.items():
        if person == gone:
            state.touches[key] = (kept, touch)


def histories() -> Iterator[list[State]]:
    """For each shuffle the states at every step; all begin alike, and all end alike."""
    for world in range(SHUFFLES):
        states = [first_state(world, random.Random(5))]
        edits = changes(states[0], world)
        random.Random(world).shuffle(edits)
        for step in range(1, STEPS):
            now = State(dict(states[-1].conversions), dict(states[-1].touches))
            for edit in edits[(step - 1) * len(edits) // (STEPS - 1) : step * len(edits) // (STEPS - 1)]:
                edit(now)
            if step == STEPS - 1:
                merged(now, world)
            states.append(now)
        yield states


def write(dsn: str, states: Sequence[State], before: Sequence[State]) -> None:
    """Puts the states, one world each, where the models of credit read.

    What changed about a touch is told as news of its message.
    """
    with psycopg.connect(dsn) as connection:
        connection.execute("truncate intermediate.int_conversions, intermediate.int_touches")
        for each in (each for state in states for each in state.conversions.values()):
            connection.execute(
                """
                insert into intermediate.int_conversions (
                    conversion_id, conversion_type, person_id, converted_at, amount, lead_created_at, deal_created_at
                ) values (%s, %s, %s, %s, %s, %s, %s)
                """,
                (each.conversion, each.kind, each.person, each.at, each.amount, each.lead_at, each.deal_at),
            )
        for key, (person, touch) in (item for state in states for item in state.touches.items()):
            connection.execute(
                """
                insert into intermediate.int_touches (
                    touch_event_id, message_key, source, letter_id, person_id, touched_at, touch_type, channel, campaign
                ) values (%s, %s, 'bitrix', 'bitrix:0', %s, %s, 'clicked', %s, 'bitrix:0')
                """,
                (key, key, person, touch.at, touch.channel),
            )
        then = {item for state in before for item in state.touches.items()}
        now = {item for state in states for item in state.touches.items()}
        for key in {key for key, _ in then ^ now}:
            connection.execute(
                "insert into intermediate.int_message_changes (message_key, _built_at) values (%s, now())", (key,)
            )


def step_at(step: int) -> datetime:
    """The run time of a step."""
    return T0 + step * DAY


def assert_answer(rows: Sequence[dict[str, object]], states: Sequence[State], when: object) -> None:
    """The rows are the credits of the states, row by row."""
    wanted = {key: credit for state in states for key, credit in state.credits().items()}
    assert {row["credit_id"] for row in rows} == wanted.keys(), when
    for row in rows:
        touch, credit, amount = wanted[str(row["credit_id"])]
        slack = SLACK if row["model"] in ROUNDED else {"credit": 0, "amount": 0}
        assert row["touch_event_id"] == touch, (when, row)
        assert abs(Fraction(row["credit"]) - credit) <= slack["credit"], (when, row)  # type: ignore[arg-type]
        assert abs(Fraction(row["amount"]) - amount) <= slack["amount"], (when, row)  # type: ignore[arg-type]


OPEN = "select * from marts.fct_attribution_credits"
AS_OF = """
    select * from marts.fct_attribution_ledger
    where valid_from <= '{at}' and (valid_to > '{at}' or valid_to is null)
"""


@dataclass(frozen=True, slots=True)
class Edited:
    """A copy of the warehouse after edits by hand, with the things edited as they were before."""

    repeated: RepeatedDbt
    deal: dict[str, Any]
    reopened: dict[str, Any]
    order: dict[str, Any]

    def rows(self, query: str) -> list[dict[str, Any]]:
        """All rows of a query."""
        return Built(self.repeated.dsn, {}).rows(query)


@pytest.fixture(scope="module")
def edited(built: Built, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    """A deal with another amount, a deal taken back to work and an order given back, and one run after that."""
    with copy_of_the_built(postgres) as dsn:
        deal, reopened = Built(dsn, {}).rows(WON)
        (order,) = Built(dsn, {}).rows(PAID)
        with psycopg.connect(dsn) as connection:
            for statement in EDITS:
                connection.execute(
                    statement.format(deal=deal["source_id"], reopened=reopened["source_id"], order=order["source_id"])
                )
        repeated = RepeatedDbt(dsn, tmp_path_factory.mktemp("ledger"))
        repeated.run(*FROM_CARDS.split(), *LEDGER_MODELS.split(), run_at=EDITED_AT.isoformat())
        yield Edited(repeated, deal, reopened, order)


def test_edits_by_hand_credit_anew_what_they_touch(edited: Edited) -> None:
    """The deal, the reopened deal and the order are credited anew, nothing else is; old answers are still told."""
    deal, reopened, order = edited.deal, edited.reopened, edited.order
    changed = edited.rows(
        f"select distinct conversion_id from marts.fct_attribution_ledger where '{EDITED_AT}' in (valid_from, valid_to)"
    )
    assert {row["conversion_id"] for row in changed} == {
        f"deal_won:{deal['source_id']}",
        f"deal_created:{deal['source_id']}",
        f"deal_won:{reopened['source_id']}",
        f"order_placed:{order['source_id']}",
        f"order_paid:{order['source_id']}",
    }

    def worth(conversion: str, day: datetime) -> Decimal | None:
        (row,) = edited.rows(
            f"select sum(amount) as amount from ({AS_OF.format(at=day)}) as answers"
            f" where conversion_id = '{conversion}' and model = 'w_shape'"
        )
        amount: Decimal | None = row["amount"]
        return amount

    def told(conversion: str) -> tuple[Decimal | None, Decimal | None]:
        return worth(conversion, EDITED_AT - DAY), worth(conversion, EDITED_AT)

    assert told(f"deal_won:{deal['source_id']}") == (deal["amount"], deal["amount"] + 100)
    assert told(f"deal_won:{reopened['source_id']}") == (reopened["amount"], None)
    assert told(f"order_paid:{order['source_id']}") == (order["amount"], 0)


TO_MERGE = """
    select clicked.card_id as gone, bought.card_id as kept, conversions.conversion_id
    from marts.fct_conversions as conversions
    inner join intermediate.int_people_crm_cards as bought
        on conversions.person_id = bought.person_id and bought.card_type = 'contact'
    inner join intermediate.int_touches as touches
        on touches.touched_at between conversions.converted_at - interval '30 days' and conversions.converted_at
            and touches.person_id <> conversions.person_id
    inner join intermediate.int_people_crm_cards as clicked
        on touches.person_id = clicked.person_id and clicked.card_type = 'contact'
    where conversions.conversion_type = 'deal_won'
    order by conversions.conversion_id, clicked.card_id
    limit 1
"""
MERGE = """
    insert into raw_bitrix.b_crm_recycling_relation
    select (jsonb_populate_record(relation, jsonb_build_object(
        'src_entity_type_id', 3, 'previous_src_entity_id', %(gone)s, 'src_entity_id', %(kept)s,
        'src_recycle_bin_id', 999999, 'dst_entity_type_id', 2, 'previous_dst_entity_id', null, '_load_id', %(load)s
    ))).*
    from raw_bitrix.b_crm_recycling_relation as relation
    limit 1
"""
FROM_IDENTITY = (
    "+fct_attribution_credits,path:models/intermediate",
    "+fct_attribution_credits,path:models/marts",
)


@dataclass(frozen=True, slots=True)
class Merged:
    """The warehouse after two contacts turned out to be one, with what the raw tables said before and after."""

    repeated: RepeatedDbt
    pair: dict[str, Any]
    """The card that is `gone`, the one that is `kept`, and a conversion of it to which a touch of the other counts."""
    before: Figures
    after: Figures


@pytest.fixture(scope="module")
def joined(edited: Edited) -> Merged:
    """A contact comes back from the recycle bin as another one, and everything from the identifiers on runs again."""
    dsn = edited.repeated.dsn
    (pair,) = edited.rows(TO_MERGE)
    before = figures(dsn)
    with psycopg.connect(dsn) as connection:
        load = new_load(connection, "raw_bitrix.b_crm_recycling_relation")
        connection.execute(MERGE, {**pair, "load": load})
    edited.repeated.run(*FROM_IDENTITY, run_at=MERGED_AT.isoformat())
    return Merged(edited.repeated, pair, before, figures(dsn))


def test_a_merge_credits_anew_what_it_joins(joined: Merged) -> None:
    """Touches of one card earn credit in the other's conversions; nobody else's change, and the old answer stays."""
    dsn, before, after = joined.repeated.dsn, joined.before, joined.after
    credits_agree(dsn, after)
    same_credits(Built(dsn, {}).rows(AS_OF.format(at=EDITED_AT.isoformat())), before)
    restated = {
        row["conversion_id"]
        for row in Built(dsn, {}).rows(
            "select conversion_id from marts.fct_attribution_ledger"
            f" where '{MERGED_AT.isoformat()}' in (valid_from, valid_to)"
        )
    }
    keys = before.credits.keys() | after.credits.keys()
    differing = {key.rsplit(":", 2)[0] for key in keys if before.credits.get(key) != after.credits.get(key)}
    person = after.identified.known("contact", joined.pair["kept"])
    assert person == after.identified.known("contact", joined.pair["gone"])
    assert joined.pair["conversion_id"] in differing
    assert differing <= restated <= {each.conversion for each in after.conversions if each.person == person}


@pytest.fixture(scope="module")
def lived(joined: Merged) -> tuple[RepeatedDbt, list[list[State]]]:
    """A warehouse whose ledger has lived through all steps of all histories, one increment each."""
    repeated = joined.repeated
    with psycopg.connect(repeated.dsn) as connection:
        for name in ("int_touches", "int_conversions"):
            connection.execute(f"create table intermediate.written as select * from intermediate.{name} where false")
            connection.execute(f"drop view intermediate.{name} cascade")
            connection.execute(f"alter table intermediate.written rename to {name}")
        connection.execute(f"truncate {', '.join(KEPT)}")
    worlds = list(histories())
    for step in range(STEPS):
        write(repeated.dsn, [states[step] for states in worlds], [states[step - 1] for states in worlds if step])
        build(repeated, step)
    return repeated, worlds


def build(repeated: RepeatedDbt, step: int) -> None:
    """One increment of the ledger."""
    repeated.run(*LEDGER_MODELS.split(), run_at=step_at(step).isoformat())


def test_every_answer_was_right_when_it_was_given(lived: tuple[RepeatedDbt, list[list[State]]]) -> None:
    """`What did we report then` is what a brute-force calculation says of that time, for every step and history."""
    repeated, worlds = lived
    dsn = repeated.dsn
    for step in range(STEPS):
        rows = Built(dsn, {}).rows(AS_OF.format(at=step_at(step).isoformat()))
        assert_answer(rows, [states[step] for states in worlds], step)


def test_the_order_of_arrival_does_not_matter(lived: tuple[RepeatedDbt, list[list[State]]]) -> None:
    """All histories end with the same credits; they had different ones on the way."""
    dsn = lived[0].dsn

    def by_world(rows: Sequence[dict[str, object]]) -> list[set[tuple[object, ...]]]:
        found: dict[str, set[tuple[object, ...]]] = defaultdict(set)
        for row in rows:
            kind, rest = str(row["conversion_id"]).split(":")
            world, number = rest.split("-")
            touch = str(row["touch_event_id"]).removeprefix(f"{world}-")
            found[world].add((kind, number, row["model"], touch, row["credit"], row["amount"]))
        return list(found.values())

    ends = by_world(Built(dsn, {}).rows(OPEN))
    assert len(ends) == SHUFFLES
    assert all(end == ends[0] for end in ends)
    middles = by_world(Built(dsn, {}).rows(AS_OF.format(at=step_at(1).isoformat())))
    assert any(middle != middles[0] for middle in middles)


def test_only_what_changed_was_credited_anew(lived: tuple[RepeatedDbt, list[list[State]]]) -> None:
    """A row begins or ends at a step exactly where the brute-force answers before and after differ."""
    repeated, worlds = lived
    dsn = repeated.dsn
    for step in range(1, STEPS):
        at = step_at(step)
        before = {key: credit for states in worlds for key, credit in states[step - 1].credits().items()}
        after = {key: credit for states in worlds for key, credit in states[step].credits().items()}
        conversions = {key: each for states in worlds for key, each in states[step].conversions.items()}
        earlier = {key: each for states in worlds for key, each in states[step - 1].conversions.items()}
        rows = Built(dsn, {}).rows(
            f"select credit_id, conversion_id from marts.fct_attribution_ledger where '{at}' in (valid_from, valid_to)"
        )
        restated = {row["conversion_id"] for row in rows}
        differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        differing_conversions = {key.rsplit(":", maxsplit=2)[0] for key in differing}
        # the conversion's own time is part of the answer even where the credits are the same
        moved = {key for key, each in conversions.items() if key in earlier and earlier[key].at != each.at}
        reasons = {row["conversion_id"] for row in Built(dsn, {}).rows(REASONS.format(at=at))}
        assert differing_conversions - restated == set()
        assert restated - differing_conversions - moved - reasons == set()
        assert len(restated) < len(conversions) / 2


REASONS = """
    select conversion_id from marts.fct_attribution_ledger
    where no_touch_reason is not null and '{at}' in (valid_from, valid_to)
"""


def test_increments_equal_a_rebuild(lived: tuple[RepeatedDbt, list[list[State]]]) -> None:
    """A repeated run changes nothing; a ledger begun now has the open rows of the one that lived through it all."""
    repeated, _ = lived
    dsn = repeated.dsn
    columns = (
        "credit_id, letter_id, touch_event_id, touched_at, converted_at, touch_count, credit, amount, no_touch_reason"
    )
    whole = "select md5(string_agg(l::text, '|' order by l::text)) as md5 from marts.fct_attribution_ledger as l"
    before = Built(dsn, {}).rows(f"select {columns} from marts.fct_attribution_credits order by credit_id")
    letters = Built(dsn, {}).rows(LETTERS)
    ledger = Built(dsn, {}).rows(whole)
    build(repeated, STEPS - 1)
    assert Built(dsn, {}).rows(whole) == ledger
    with psycopg.connect(dsn) as connection:
        connection.execute(f"drop table {', '.join(KEPT)} cascade")
    build(repeated, STEPS)
    after = Built(dsn, {}).rows(f"select {columns} from marts.fct_attribution_credits order by credit_id")
    assert before == after
    assert len(before) > 1000
    assert letters == Built(dsn, {}).rows(LETTERS)


LETTERS = """
    select conversion_id, letter_id, channel, is_revenue, touch_count, credit_last_touch, credit_w_shape,
        amount_time_decay
    from marts.fct_letter_conversions
    order by conversion_id, letter_id, channel
"""


def test_letters_sum_up_the_open_credits(lived: tuple[RepeatedDbt, list[list[State]]]) -> None:
    """fct_letter_conversions has lived through the same steps and says of every conversion what the ledger says."""
    repeated, _ = lived
    differing = """
        select * from (
            select
                conversion_id,
                sum(credit_linear) as linear,
                sum(credit_w_shape) as w_shape,
                sum(amount_time_decay) as time_decay,
                sum(touch_count) as touch_count
            from marts.fct_letter_conversions
            group by conversion_id
        ) as letters
        full join (
            select
                conversion_id,
                sum(credit) filter (where model = 'linear') as linear,
                sum(credit) filter (where model = 'w_shape') as w_shape,
                sum(amount) filter (where model = 'time_decay') as time_decay,
                count(touch_event_id) filter (where model = 'linear') as touch_count
            from marts.fct_attribution_credits
            group by conversion_id
        ) as credits using (conversion_id)
        where (letters.linear, letters.w_shape, letters.time_decay, letters.touch_count)
            is distinct from (credits.linear, credits.w_shape, credits.time_decay, credits.touch_count)
    """
    assert Built(repeated.dsn, {}).rows(differing) == []
    assert len(Built(repeated.dsn, {}).rows("select from marts.fct_letter_conversions")) > 100
