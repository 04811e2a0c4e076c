"""Promises of the dbt project itself: layers, one-file segments, repeatable builds, described marts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.dbt.conftest import LAYERS, Built
from tests.dbt.dbt_runs import RepeatedDbt, copy_project, dbt

from lettertrail.settings import DBT_PROJECT_DIR

SEGMENT = """{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 5}}) }}

select
    primary_email as email,
    person_id

from {{ ref('dim_person') }}
where primary_email is not null
"""
ASKS_THE_CLOCK = re.compile(r"\b(now\(\)|current_timestamp|current_date|clock_timestamp|localtimestamp)", re.IGNORECASE)


def test_every_layer_builds_by_itself(built: Built) -> None:
    """A layer needs only those before it, and each model is in the schema its folder is named after."""
    manifest = built.layers["segments"].manifest
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(models) > 40
    for model in models:
        assert model["schema"] == model["original_file_path"].split("/")[1]
        parents = [manifest["nodes"][name] for name in model["depends_on"]["nodes"] if name.startswith("model.")]
        assert all(LAYERS.index(parent["schema"]) <= LAYERS.index(model["schema"]) for parent in parents)


def test_every_test_ran_and_passed(built: Built) -> None:
    """No test falls between the layers: each one ran in one of the four builds."""
    manifest = built.layers["segments"].manifest
    wanted = {name for name, node in manifest["nodes"].items() if node["resource_type"] == "test"}
    wanted |= set(manifest["unit_tests"])
    assert len(wanted) > 150
    ran = {name: status for run in built.layers.values() for name, status in run.results.items()}
    assert {name: ran.get(name) for name in wanted if ran.get(name) != "pass"} == {}


def test_a_segment_is_one_file(built: Built, tmp_path: Path) -> None:
    """A dropped-in file is in the manifest with where it goes, and builds; nothing else is edited."""
    project = copy_project(tmp_path / "project")
    (project / "models" / "segments" / "seg_xyz.sql").write_text(SEGMENT, encoding="utf-8")
    run = dbt("build", "--select", "seg_xyz", dsn=built.dsn, work_dir=tmp_path, project=project)
    assert run.returncode == 0, run.output[-4000:]
    node = run.manifest["nodes"]["model.lettertrail.seg_xyz"]
    assert node["schema"] == "segments"
    assert node["config"]["meta"]["push"] == {"to": ["mailchimp"], "mode": "mirror", "max_removed_pct": 5}
    assert built.rows("select count(*) as n from segments.seg_xyz")[0]["n"] > 100


def test_a_second_build_changes_nothing(built: Built, tmp_path: Path) -> None:
    """The same raw rows and run time give the same marts, to the byte."""
    marts = [row["table_name"] for row in built.rows(TABLES)]
    assert len(marts) > 8
    before = {mart: _fingerprint(built, mart) for mart in marts}
    RepeatedDbt(built.dsn, tmp_path).do("run")
    assert {mart: _fingerprint(built, mart) for mart in marts} == before


def test_nothing_asks_the_database_for_the_time() -> None:
    """What is "now" comes from run_at alone."""
    files = [path for folder in ("models", "macros", "tests") for path in (DBT_PROJECT_DIR / folder).rglob("*.sql")]
    assert len(files) > 60
    assert [path.name for path in files if ASKS_THE_CLOCK.search(path.read_text(encoding="utf-8"))] == []


def test_every_mart_is_described_and_under_contract(built: Built) -> None:
    """Each mart says its grain, and each of its columns its meaning and type."""
    nodes = built.layers["marts"].manifest["nodes"].values()
    marts = [node for node in nodes if node["resource_type"] == "model" and node["schema"] == "marts"]
    assert len(marts) >= 24
    for mart in marts:
        assert mart["description"].startswith("One row per"), mart["name"]
        assert mart["config"]["contract"]["enforced"], mart["name"]
        assert all(column["description"] and column["data_type"] for column in mart["columns"].values()), mart["name"]


@pytest.mark.parametrize("layer", LAYERS)
def test_every_model_says_its_grain(built: Built, layer: str) -> None:
    """`One row per …` opens every description."""
    nodes = built.layers["segments"].manifest["nodes"].values()
    models = [node for node in nodes if node["resource_type"] == "model" and node["schema"] == layer]
    assert models
    assert [node["name"] for node in models if not node["description"].startswith("One row per")] == []


TABLES = "select table_name from information_schema.tables where table_schema in ('marts', 'segments')"


def _fingerprint(built: Built, table: str) -> str:
    schema = "segments" if table.startswith("seg_") else "marts"
    query = f"select md5(string_agg(rows::text, '|' order by rows::text)) as md5 from {schema}.{table} as rows"
    fingerprint: str = built.rows(query)[0]["md5"]
    return fingerprint
