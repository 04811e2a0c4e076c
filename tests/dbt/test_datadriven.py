"""Paths, Markov chains and Shapley values against published examples and a calculation from their definitions."""

from __future__ import annotations

import hashlib
import random
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path as File
from statistics import median
from typing import Any

import psycopg
import pytest
import yaml
from tests.dbt.conftest import Built
from tests.dbt.dbt_runs import RUN_AT, RepeatedDbt
from tests.dbt.independent import Figures, Raw
from tests.dbt.independent_datadriven import (
    Inputs,
    Journeys,
    Path,
    inputs_of,
    journeys_of,
    paths_of,
    removal_effects,
    shapley_by_dividends,
    shapley_values,
)

from lettertrail.settings import DBT_PROJECT_DIR

CLOSE = 1e-9

# Each is a conversion type of its own: units in order → conversions, other ends.
PUBLISHED: dict[str, Journeys] = {
    # S. Bryl, "Marketing Multi-Channel Attribution model with R", analyzecore.com, 3 August 2016
    "bryl": {("C1", "C2", "C3"): (1, 0), ("C1",): (0, 1), ("C2", "C3"): (0, 1)},
    # S. Puzyrov, "Markov Chain Attribution – Simple Explanation Of Removal Effect", serhiipuzyrov.com, July 2019
    "puzyrov": {("google",): (2, 1), ("mailing",): (1, 0), ("google", "mailing"): (1, 0)},
    # eeghor/mta (Python), tests/test_probabilistic_models.py: the transition matrix they check
    "mta_markov": {("a", "b"): (3, 1), ("a", "c"): (1, 1)},
    # eeghor/mta, tests/test_shapley.py: conversions to be shared out
    "mta_mixed": {("a",): (4, 0), ("a", "b"): (6, 0)},
    "mta_four": {("a", "b", "c", "d"): (10, 0)},
    # R package ShapleyR, shapley.unsampled: v(A) = 5, v(B) = 4, v(AB) = 10
    "shapleyr": {("A",): (5, 0), ("B",): (4, 0), ("A", "B"): (1, 0)},
    # "Data-Driven Marketing Attribution", towardsdatascience.com; worths .2, .1, .17, .47, .67, .27 and 1,
    # here in conversions of 100
    "facebook_organic_linkedin": {
        ("F",): (20, 0),
        ("O",): (10, 0),
        ("L",): (17, 0),
        ("F", "O"): (17, 0),
        ("F", "L"): (30, 0),
        ("F", "L", "O"): (6, 0),
    },
    # calcbee.com's data-driven attribution calculator: v(A) = 2 %, v(B) = 1.5 %, v(AB) = 4 %
    "calcbee": {("A",): (2, 98), ("B",): (3, 197), ("B", "A"): (4, 96)},
}
REMOVAL_EFFECTS = {
    "bryl": {"C1": 0.5, "C2": 1, "C3": 1},
    "puzyrov": {"google": 0.75, "mailing": 0.5},
    "mta_markov": {"a": 1, "b": 0.75, "c": 0.25},
}
SHAPLEY_OF_CONVERSIONS = {
    "mta_mixed": {"a": 7, "b": 3},
    "mta_four": {"a": 2.5, "b": 2.5, "c": 2.5, "d": 2.5},
    "shapleyr": {"A": 5.5, "B": 4.5},
    "facebook_organic_linkedin": {"F": 45.5, "O": 20.5, "L": 34},
}
SHAPLEY_OF_RATES = {"calcbee": {"A": 2 + 2.25, "B": 3 + 1.75}}
"""What each converts alone, and its part of the 4 of 100 that met both."""


def drawn(seed: int) -> Journeys:
    """Paths with loops, repeats, dead ends, units that only harm and units that never convert."""
    chance = random.Random(seed)
    units = "abcdef"[: chance.randint(2, 6)]
    journeys: dict[tuple[str, ...], tuple[int, int]] = {}
    for _ in range(chance.randint(1, 40)):
        path = tuple(chance.choices(units, weights=range(1, len(units) + 1), k=chance.choice([1, 1, 2, 3, 5, 9])))
        converts = "a" not in path and chance.random() < 0.6
        journeys[path] = (chance.randint(1, 9) if converts else 0, chance.randint(0 if converts else 1, 30))
    return journeys


EDGES: dict[str, Journeys] = {
    "one_channel": {("A",): (3, 2)},
    "one_channel_over_and_over": {("A",) * 6: (3, 2), ("A",): (1, 0)},
    "nothing_converts": {("A", "B"): (0, 5), ("B",): (0, 1)},
    "everything_converts": {("A", "B"): (4, 0), ("C",): (2, 0), ("B", "A", "C"): (1, 0)},
    "in_every_path": {("A", "B"): (2, 3), ("C", "A"): (1, 1), ("A",): (0, 2)},
    "there_and_back": {("A", "B", "A", "B", "A"): (1, 1), ("B", "A", "B"): (0, 3)},
}
MANY = 150
WIDE: Journeys = {
    **{("hub", f"u{number:03d}"): (1 + number % 3, number % 5) for number in range(MANY)},
    **{(f"u{number:03d}", f"u{(number + 1) % MANY:03d}", "hub"): (number % 2, 1) for number in range(0, MANY, 7)},
}
"""More units than are taken out side by side; no path has more than three, so that Shapley values are exact."""
LONG: Journeys = {tuple(f"v{number:02d}" for number in range(12)): (3, 1), ("v00", "v01"): (1, 1), ("v02",): (1, 4)}
"""A path of more units than `shapley_exact_units`."""
EXAMPLES: dict[str, Journeys] = PUBLISHED | EDGES | {f"drawn_{seed}": drawn(seed) for seed in range(20)}


def number_of(text: str) -> int:
    """A number for a text that no other text has."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def put_in(dsn: str) -> None:
    """The examples instead of the world's paths, each path as often as it was taken."""
    paths: list[tuple[object, ...]] = []
    steps: list[tuple[object, ...]] = []
    for kind, journeys in {**EXAMPLES, "wide": WIDE, "long": LONG}.items():
        for units, (conversions, others) in journeys.items():
            for number in range(conversions + others):
                path_id = f"{kind}:{'>'.join(units)}:{number}"
                is_converted = number < conversions
                # what the models go by: of repeats the first two
                seen = [u for i, u in enumerate(units) if not (i > 1 and u == units[i - 1] == units[i - 2])]
                sequence = number_of(f"{kind}|{'>'.join(seen)}")
                paths.append((path_id, kind, is_converted, 1 if is_converted else None, sequence))
                steps += [
                    (
                        path_id,
                        kind,
                        index + 1,
                        unit,
                        index > 0 and unit == units[index - 1],
                        index > 1 and unit == units[index - 1] == units[index - 2],
                    )
                    for index, unit in enumerate(units)
                ]
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            "create table paths as select * from intermediate.int_paths limit 0; drop view intermediate.int_paths; "
            "alter table paths rename to int_paths; alter table int_paths set schema intermediate; "
            "truncate intermediate.int_path_steps"
        )
        with cursor.copy(
            "copy intermediate.int_paths (path_id, conversion_type, converted, value, sequence_number) from stdin"
        ) as copy:
            for row in paths:
                copy.write_row(row)
        with cursor.copy(
            "copy intermediate.int_path_steps (path_id, conversion_type, step, unit, is_repeat, is_further_repeat) "
            "from stdin"
        ) as copy:
            for row in steps:
                copy.write_row(row)


Answers = dict[tuple[str, str], dict[str, dict[str, float]]]


def answers(dsn: str) -> Answers:
    """(type, model) → unit → what fct_attribution_data_driven says."""
    found: Answers = defaultdict(dict)
    for row in Built(dsn, {}).rows("select * from marts.fct_attribution_data_driven where unit is not null"):
        found[row["conversion_type"], row["model"]][row["unit"]] = {
            name: float(row[name])
            for name in ("credit", "amount", "removal_effect", "shapley_value", "sampling_error")
            if row[name] is not None
        }
    return found


def run_examples(dsn: str, work_dir: File, variables: dict[str, object], first: str = "int_path_sequences+") -> Answers:
    """The models' answers to the examples."""
    RepeatedDbt(dsn, work_dir).run(f"{first},+fct_attribution_data_driven", variables=variables)
    return answers(dsn)


def settings() -> dict[str, Any]:
    """The project's vars."""
    variables: dict[str, Any] = yaml.safe_load((DBT_PROJECT_DIR / "dbt_project.yml").read_text(encoding="utf-8"))[
        "vars"
    ]
    return variables


def expected_paths(inputs: Inputs) -> dict[str, Path]:
    """The paths at the run's time."""
    lookback = {kind: timedelta(days=days) for kind, days in settings()["lookback_days"].items()}
    return paths_of(inputs, lookback=lookback, run_at=datetime.fromisoformat(RUN_AT).astimezone(UTC))


def inputs_as_built(built: Built) -> Inputs:
    """Touches, conversions and what is open as the models have them."""
    opened: dict[tuple[str, str], datetime] = {}
    for row in built.rows("select * from intermediate.int_open_outcomes where person_id is not null"):
        key = row["conversion_type"], row["person_id"]
        opened[key] = min(row["opened_at"], opened.get(key, row["opened_at"]))
    # what stands now, not what the models noticed
    kinds = settings()["data_driven_conversion_types"]
    conversions = built.rows("select * from intermediate.int_conversions")
    return Inputs(
        built.rows(
            "select *, campaign as unit from intermediate.int_touches"
            " order by touched_at, source, event_number, touch_event_id"
        ),
        [row for row in conversions if row["conversion_type"] in kinds],
        opened,
    )


def found_paths(built: Built) -> dict[str, Path]:
    """The paths that the models made."""
    steps: dict[str, list[str]] = defaultdict(list)
    began: dict[str, datetime] = {}
    for row in built.rows("select path_id, unit, touched_at from intermediate.int_path_steps order by path_id, step"):
        steps[row["path_id"]].append(row["unit"])
        began.setdefault(row["path_id"], row["touched_at"])
    found = {
        row["path_id"]: Path(
            row["conversion_type"], tuple(steps.pop(row["path_id"], ())), row["outcome"], began.get(row["path_id"])
        )
        for row in built.rows("select path_id, conversion_type, outcome from intermediate.int_paths")
    }
    assert not steps, "steps of no path"
    return found


@dataclass(frozen=True, slots=True)
class PathWorld:
    """A warehouse, and what the raw tables in it say."""

    built: Built
    figures: Figures
    paths: dict[str, Path]

    @property
    def journeys(self) -> dict[str, Journeys]:
        """By conversion type."""
        return journeys_of(self.paths.values())


@pytest.fixture(
    scope="module", params=[("built", "from_raw"), ("changed_world", "changed_from_raw")], ids=["new", "changed"]
)
def path_world(request: pytest.FixtureRequest) -> PathWorld:
    """The small world, and what was made of it by changes at the source."""
    built, figures = map(request.getfixturevalue, request.param)
    inputs = inputs_of(Raw(built.dsn), figures, kinds=settings()["data_driven_conversion_types"])
    return PathWorld(built, figures, expected_paths(inputs))


def test_paths_agree(path_world: PathWorld) -> None:
    """Every path of the world: its units in order, and whether it converted, did not, or can still, and why."""
    assert found_paths(path_world.built) == path_world.paths
    outcomes = Counter(path.outcome for path in path_world.paths.values())
    assert min(outcomes[each] for each in ("converted", "not_converted", "window_running", "still_open")) > 0
    rows = path_world.built.rows("select distinct outcome, converted from intermediate.int_paths")
    assert {row["outcome"]: row["converted"] for row in rows} == {
        "converted": True,
        "not_converted": False,
        "still_open": None,
        "window_running": None,
    }


def test_open_deals_keep_their_paths_out(changed_world: Built, changed_from_raw: Figures) -> None:
    """Paths whose deal or order is still open are in no count; taken for lost ones they would change the answer."""
    kinds = settings()["data_driven_conversion_types"]
    paths = expected_paths(inputs_of(Raw(changed_world.dsn), changed_from_raw, kinds=kinds)).values()
    found, known = answers(changed_world.dsn), journeys_of(paths)
    lost = journeys_of(
        replace(path, outcome="not_converted") if path.outcome == "still_open" else path for path in paths
    )
    assert {kind for kind in known if known[kind] != lost[kind]} == {"deal_won", "order_paid"}
    # where nothing was bought there is nothing to share
    kinds = [kind for kind in ("deal_won", "order_paid") if any(ends[0] for ends in known[kind].values())]
    assert kinds
    for kind in kinds:
        told = of_units(found, kind, "shapley", "shapley_value")
        wrong = {unit: float(value) for unit, value in shapley_by_dividends(lost[kind]).items()}
        assert told != pytest.approx(wrong, abs=CLOSE)


# Touches go, come to somebody else and get another letter; conversions go, move and lose their person.
CHANGES = """
    insert into intermediate.int_message_changes (message_key, _built_at)
    select message_key, now() from intermediate.int_clicks_judged where abs(hashtext(event_id)) % 7 < 3;
    delete from intermediate.int_clicks_judged where abs(hashtext(event_id)) % 7 = 0;
    update intermediate.int_clicks_judged set person_id = 'somebody new' where abs(hashtext(event_id)) % 7 = 1;
    update intermediate.int_clicks_judged set letter_id = (select min(letter_id) from intermediate.int_letters)
    where abs(hashtext(event_id)) % 7 = 2;
    create table intermediate.written as select * from intermediate.int_conversions;
    drop view intermediate.int_conversions;
    alter table intermediate.written rename to int_conversions;
    delete from intermediate.int_conversions where source_id % 5 = 0;
    update intermediate.int_conversions set converted_at = converted_at - interval '20 days' where source_id % 5 = 1;
    update intermediate.int_conversions set person_id = null where source_id % 5 = 2;
"""


def test_paths_follow_what_changes(changed_dsn: str, tmp_path: File) -> None:
    """The paths of people whose touches or conversions changed are worked out anew, and nobody else's are touched."""
    changed = Built(changed_dsn, {})
    before = found_paths(changed)
    with psycopg.connect(changed_dsn) as connection:
        connection.execute(CHANGES)
    kept = "select count(*) as n from intermediate.int_path_steps where _built_at = '{}'"
    first_build = changed.rows("select max(_built_at) as at from intermediate.int_path_steps")[0]["at"]
    RepeatedDbt(changed_dsn, tmp_path).run(
        *("int_touch_changes", "int_conversion_changes", "int_conversion_inputs", "int_touches_ranked"),
        *("int_path_people", "int_path_steps", "int_path_summaries"),
    )
    after = found_paths(changed)
    assert after == expected_paths(inputs_as_built(changed))
    assert after != before
    assert changed.rows(kept.format(first_build))[0]["n"] > 0


def test_the_worlds_removal_effects_agree(path_world: PathWorld) -> None:
    """Both chains of every conversion type, unit by unit, and the credits that follow from them."""
    found = answers(path_world.built.dsn)
    compared = 0
    for kind, journeys in path_world.journeys.items():
        conversions = sum(ends[0] for ends in journeys.values())
        for order in (1, 2):
            expected = removal_effects(journeys, order=order)
            model = found[kind, f"markov_{order}"]
            assert model.keys() == expected.keys()
            for unit, effect in expected.items():
                if conversions:
                    assert model[unit]["removal_effect"] == pytest.approx(float(effect), abs=CLOSE), (kind, order, unit)
                    share = effect / sum(expected.values())
                    credit = float(share * conversions)
                    assert model[unit]["credit"] == pytest.approx(credit, abs=1e-6), (kind, order, unit)
                compared += 1
    assert compared > 20


def test_the_worlds_shapley_values_agree(path_world: PathWorld) -> None:
    """Unit by unit out of all coalitions of the world's paths, and the credit and money that follow."""
    found = answers(path_world.built.dsn)
    values: dict[str, Decimal] = defaultdict(Decimal)
    for each in path_world.figures.conversions:
        if each.conversion in path_world.paths and path_world.paths[each.conversion].units:
            values[each.kind] += each.amount
    converted = 0
    for kind, journeys in path_world.journeys.items():
        model, expected = found[kind, "shapley"], shapley_by_dividends(journeys)
        assert model.keys() == expected.keys()
        assert max(len(set(units)) for units in journeys) <= settings()["shapley_exact_units"]
        conversions = sum(ends[0] for ends in journeys.values())
        assert sum(expected.values()) == conversions
        converted += conversions
        positive = sum(value for value in expected.values() if value > 0) or Fraction(1)
        for unit, value in expected.items():
            told = model[unit]
            share = max(value, Fraction(0)) / positive
            assert told["shapley_value"] == pytest.approx(float(value), abs=CLOSE), (kind, unit)
            assert told["credit"] == pytest.approx(float(share * conversions), abs=CLOSE), (kind, unit)
            assert told["amount"] == pytest.approx(float(share * Fraction(values[kind])), abs=0.01), (kind, unit)
    assert converted > 0


def test_the_worlds_paths_are_summed_up(path_world: PathWorld) -> None:
    """mart_paths, repeats told once: how many went which way, how it ended, what it was worth and how long it took."""
    expected: dict[tuple[str, str | None], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    lengths: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    values: dict[tuple[str, str | None], Decimal] = defaultdict(Decimal)
    days: dict[tuple[str, str | None], list[float]] = defaultdict(list)
    conversions = {each.conversion: each for each in path_world.figures.conversions}
    for path_id, path in path_world.paths.items():
        told = [unit for place, unit in enumerate(path.units) if place == 0 or unit != path.units[place - 1]]
        key = path.conversion_type, " > ".join(told) or None
        expected[key][{True: 0, False: 1, None: 2}[path.converted]] += 1
        expected[key][3] += len(path.units)
        lengths[key].append(len(path.units))
        if path.converted:
            values[key] += conversions[path_id].amount
            if path.began:
                days[key].append((conversions[path_id].at - path.began) / timedelta(days=1))
    rows = path_world.built.rows("select * from marts.mart_paths")
    found = {
        (row["conversion_type"], row["path"]): [
            row["conversion_count"],
            row["non_conversion_count"],
            row["unknown_count"],
            row["touch_count"],
        ]
        for row in rows
    }
    assert found == expected
    for row in rows:
        key = row["conversion_type"], row["path"]
        assert (row["least_touches"], row["most_touches"]) == (min(lengths[key]), max(lengths[key])), key
        assert row["value"] == values[key], key
        if days[key]:
            took = float(row["median_days_to_conversion"]), float(row["most_days_to_conversion"])
            assert took == pytest.approx((median(days[key]), max(days[key])), abs=1e-4), key
        else:
            assert row["median_days_to_conversion"] is row["most_days_to_conversion"] is None, key
    assert max(len(times) for times in days.values()) > 2


@pytest.fixture
def examples_dsn(changed_dsn: str) -> str:
    """A warehouse whose paths are the examples."""
    put_in(changed_dsn)
    return changed_dsn


def test_published_and_drawn_examples(examples_dsn: str, tmp_path: File, capsys: pytest.CaptureFixture[str]) -> None:
    """What papers and libraries print, and twenty drawn worlds: exactly, and sampled within the error told."""
    found = run_examples(examples_dsn, tmp_path, {})
    for kind, effects in REMOVAL_EFFECTS.items():
        assert of_units(found, kind, "markov_1", "removal_effect") == pytest.approx(effects, abs=CLOSE)
    for kind, values in SHAPLEY_OF_RATES.items():
        assert of_units(found, kind, "shapley", "shapley_value") == pytest.approx(values, abs=CLOSE)
    check_examples(found)
    check_many_units(found)
    harming = [unit for kind in EXAMPLES for unit in found[kind, "shapley"].values() if unit["shapley_value"] < 0]
    assert len(harming) > 10
    assert {unit["credit"] for unit in harming} == {0}

    found = run_examples(examples_dsn, tmp_path, {"shapley_exact_units": 2, "shapley_samples": 100})
    told = check_sampled(found)
    with capsys.disabled():
        sys.stdout.write(told)

    found = run_examples(examples_dsn, tmp_path, {"shapley_worth": "conversions"}, "int_shapley_sets+")
    for kind, values in SHAPLEY_OF_CONVERSIONS.items():
        assert of_units(found, kind, "shapley", "shapley_value") == pytest.approx(values, abs=CLOSE)
    for kind, journeys in EXAMPLES.items():
        expected = shapley_values(journeys, worth="conversions")
        assert of_units(found, kind, "shapley", "shapley_value") == pytest.approx(expected, abs=CLOSE), kind


def of_units(found: Answers, kind: str, model: str, name: str) -> dict[str, float]:
    """One figure of each unit."""
    return {unit: answer[name] for unit, answer in found[kind, model].items()}


def check_examples(found: Answers) -> None:
    """All examples against the definitions."""
    for kind, journeys in EXAMPLES.items():
        conversions = sum(ends[0] for ends in journeys.values())
        for model, order in (("markov_1", 1), ("markov_2", 2)):
            expected = removal_effects(journeys, order=order)
            credits = of_units(found, kind, model, "credit")
            assert sum(credits.values()) == pytest.approx(conversions, abs=CLOSE)
            assert credits.keys() == expected.keys(), kind
            if conversions:
                effects = of_units(found, kind, model, "removal_effect")
                wanted = {unit: float(effect) for unit, effect in expected.items()}
                assert effects == pytest.approx(wanted, abs=CLOSE), (kind, order)
        values = of_units(found, kind, "shapley", "shapley_value")
        averaged = shapley_values(journeys)
        assert values == pytest.approx(averaged, abs=CLOSE), kind
        # the calculation that the world is held against says the same as the definition
        put_together = {unit: float(value) for unit, value in shapley_by_dividends(journeys).items()}
        assert put_together == pytest.approx(averaged, abs=CLOSE), kind


def check_many_units(found: Answers) -> None:
    """Of more than a hundred units, exactly; of a path with more of them than the limit, within the error told."""
    for model, order in (("markov_1", 1), ("markov_2", 2)):
        for kind, journeys in (("wide", WIDE), ("long", LONG)):
            wanted = {unit: float(effect) for unit, effect in removal_effects(journeys, order=order).items()}
            assert of_units(found, kind, model, "removal_effect") == pytest.approx(wanted, abs=CLOSE), (kind, order)
    for kind, journeys in (("wide", WIDE), ("long", LONG)):
        values = {unit: float(value) for unit, value in shapley_by_dividends(journeys).items()}
        errors = of_units(found, kind, "shapley", "sampling_error")
        assert set(errors.values()) == {0} if kind == "wide" else all(errors.values())
        for unit, value in of_units(found, kind, "shapley", "shapley_value").items():
            assert abs(value - values[unit]) <= errors[unit] + CLOSE, (kind, unit)
        told = sum(of_units(found, kind, "shapley", "credit").values())
        assert told == pytest.approx(sum(ends[0] for ends in journeys.values()), abs=CLOSE)


def check_sampled(found: Answers) -> str:
    """Sampled values are off by no more than they say, but for one in a hundred; returns a line to print."""
    errors = []
    for kind, journeys in EXAMPLES.items():
        for unit, value in shapley_values(journeys).items():
            answer = found[kind, "shapley"][unit]
            errors.append((abs(answer["shapley_value"] - value), answer["sampling_error"]))
    outside = [error for error, told in errors if error > told + CLOSE]
    assert sum(told > 0 for _, told in errors) > 50
    assert len(outside) <= len(errors) / 100
    widest, off = max(told for _, told in errors), max(error for error, _ in errors)
    return (
        f"\nsampled Shapley values: {len(outside)} of {len(errors)} further off than told; "
        f"at most {off:.3f} conversions off, at most {widest:.3f} told\n"
    )
