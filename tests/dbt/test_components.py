"""The materialisation `connected_components` over shapes that are hard for it, in a small project of its own."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from shutil import copyfile

import psycopg
import pytest
from tests.dbt.dbt_runs import DbtRun, dbt

from lettertrail.settings import DBT_PROJECT_DIR

PROJECT = f"""
name: components
profile: lettertrail
macro-paths: ["{DBT_PROJECT_DIR / "macros"}"]
models: {{components: {{+schema: scratch}}}}
flags: {{send_anonymous_usage_stats: false}}
"""
STANDING = (
    "select identifier_number, identifier_id, naming_rank, card_id from {{ ref('identifiers') }} where not is_gone"
)
MODELS = {
    "identifiers": "select * from raw_scratch.identifiers",
    "links": "select * from raw_scratch.links",
    "components": (
        "{{ config(materialized='connected_components', identifiers='identifiers', links='links', "
        "indexes=[{'columns': ['identifier_number'], 'unique': true}, {'columns': ['person_number']}]) }}\n"
        "-- depends_on: {{ ref('links') }}\n" + STANDING
    ),
    "too_few_rounds": (
        "{{ config(materialized='connected_components', identifiers='identifiers', links='links', max_rounds=2) }}\n"
        "-- depends_on: {{ ref('links') }}\n" + STANDING
    ),
}
TABLES = """
create schema raw_scratch;
create table raw_scratch.identifiers (
    identifier_number bigint, identifier_id text, naming_rank integer, card_id bigint,
    is_gone boolean, _built_at timestamptz
);
create table raw_scratch.links (
    identifier_number bigint, other_identifier_number bigint, is_linked boolean, _built_at timestamptz
);
"""
Name = tuple[int, bool, int, int]


@dataclass(slots=True)
class Graph:
    """What the tables hold."""

    dsn: str
    names: dict[int, Name] = field(default_factory=dict)
    """What decides whom a component is named after: rank, has no card, card, number."""
    links: set[tuple[int, int]] = field(default_factory=set)

    def grow(self, numbers: Iterable[int], links: Iterable[tuple[int, int]]) -> None:
        """More identifiers and links."""
        new = {number: (number % 3 + 1, number % 3 > 0, 0 if number % 3 else number // 7, number) for number in numbers}
        fresh = {link for link in links if link not in self.links and link[::-1] not in self.links}
        self.names |= new
        self.links |= fresh
        with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "insert into raw_scratch.identifiers values (%s, %s, %s, %s, false, now())",
                [(number, f"id:{number}", name[0], None if name[1] else name[2]) for number, name in new.items()],
            )
            cursor.executemany("insert into raw_scratch.links values (%s, %s, true, now())", list(fresh))

    def cut(self, links: Iterable[tuple[int, int]]) -> None:
        """Links that are no more."""
        gone = set(links)
        self.links -= gone
        with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "update raw_scratch.links set is_linked = false, _built_at = now() "
                "where identifier_number = %s and other_identifier_number = %s",
                list(gone),
            )

    def forget(self, numbers: Iterable[int]) -> None:
        """Identifiers that are no more, with their links."""
        gone = set(numbers)
        self.cut([link for link in self.links if gone & set(link)])
        for number in gone:
            del self.names[number]
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "update raw_scratch.identifiers set is_gone = true, _built_at = now()"
                " where identifier_number = any(%s)",
                [list(gone)],
            )

    def people(self) -> dict[int, int]:
        """Whom every identifier's component is named after."""
        neighbours: dict[int, list[int]] = defaultdict(list)
        for one, other in self.links:
            neighbours[one].append(other)
            neighbours[other].append(one)
        people: dict[int, int] = {}
        for start in sorted(self.names, key=self.names.__getitem__):
            waiting = [start]
            while waiting:
                number = waiting.pop()
                if number not in people:
                    people[number] = start
                    waiting.extend(neighbours[number])
        return people


def _shapes(rng: random.Random) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
    """Chains (numbered at random, and in order), a ring, a star, a tree, a random graph, loners."""
    numbers = iter(rng.sample(range(1_000_000, 2**62), 30_000))

    def take(count: int) -> list[int]:
        return [next(numbers) for _ in range(count)]

    chain, ordered, ring, star, tree, cloud = (
        take(5000),
        list(range(1, 4001)),
        take(2000),
        take(3000),
        take(1000),
        take(4000),
    )
    yield chain, list(pairwise(chain))
    yield list(ordered), list(pairwise(ordered))
    yield ring, list(zip(ring, [*ring[1:], ring[0]], strict=True))
    yield star, [(star[0], leaf) for leaf in star[1:]]
    yield tree, [(tree[(place - 1) // 2], node) for place, node in enumerate(tree) if place]
    yield cloud, [(rng.choice(cloud), rng.choice(cloud)) for _ in range(2500)]
    yield take(500), []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with nothing but the materialisation."""
    directory = tmp_path / "project"
    (directory / "models").mkdir(parents=True)
    (directory / "dbt_project.yml").write_text(PROJECT, encoding="utf-8")
    copyfile(DBT_PROJECT_DIR / "profiles.yml", directory / "profiles.yml")
    for name, query in MODELS.items():
        (directory / "models" / f"{name}.sql").write_text(query, encoding="utf-8")
    return directory


def stored(dsn: str) -> dict[int, tuple[int, str, datetime]]:
    """Person, person id and build of every identifier."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "select identifier_number, person_number, person_id, _built_at from scratch.components"
        )
        return {number: (person, name, built) for number, person, name, built in rows}


def test_any_shape_converges_and_increments_are_a_rebuild(warehouse_dsn: str, project: Path, tmp_path: Path) -> None:
    """Long chains, rings and stars come to rest; what is added, cut and forgotten later gives what a rebuild would."""
    rng = random.Random(5)
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute(TABLES)
    graph = Graph(warehouse_dsn)
    for numbers, links in _shapes(rng):
        graph.grow(numbers, [link for link in links if link[0] != link[1]])

    def build() -> DbtRun:
        run = dbt("run", dsn=warehouse_dsn, work_dir=tmp_path, project=project)
        found = stored(warehouse_dsn)
        assert {number: row[0] for number, row in found.items()} == graph.people()
        assert all(name == f"id:{person}" for person, name, _ in found.values())
        return run

    first = build()
    assert first.results["model.components.components"] == "success"
    assert first.results["model.components.too_few_rounds"] == "error"
    assert "links are left after 2 rounds" in first.output
    (project / "models" / "too_few_rounds.sql").unlink()
    before = stored(warehouse_dsn)
    graph.cut(rng.sample(sorted(graph.links), 25))
    graph.forget(rng.sample(sorted(graph.names), 15))
    fresh = rng.sample(range(2**62, 2**63 - 1), 100)
    both = [*rng.sample(sorted(graph.names), 60), *fresh]
    pairs = zip(both, rng.sample(both, len(both)), strict=True)
    graph.grow(fresh, {(one, other) for one, other in pairs if one != other})
    build()
    after = stored(warehouse_dsn)
    kept = [number for number in before.keys() & after.keys() if before[number][0] == after[number][0]]
    assert len(kept) > 1000
    untouched = [number for number in kept if before[number][2] == after[number][2]]
    assert len(untouched) > 0.5 * len(kept)
    changed = [number for number in before.keys() & after.keys() if before[number][0] != after[number][0]]
    assert changed
    assert all(after[number][2] > before[number][2] for number in changed)
