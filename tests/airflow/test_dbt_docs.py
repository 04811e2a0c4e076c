"""When the page about the dbt project is made anew, and how it gets where it is read."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a model, and what an earlier run left in it."""
    root = tmp_path / "project"
    for name, text in {"models/a.sql": "select 1", "models/a.yml": "version: 2", "target/a.sql": "select 1"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def page(tmp_path: Path, project: Path, airflow_home: None) -> Path:
    """A page of that project, written at noon."""
    from lettertrail.airflow.dbt_docs import publish  # noqa: PLC0415

    made = tmp_path / "static_index.html"
    made.write_text("<html>described</html>", encoding="utf-8")
    publish(made, tmp_path / "docs" / "index.html", project=project)
    os.utime(tmp_path / "docs" / "index.html", (NOON.timestamp(), NOON.timestamp()))
    return tmp_path / "docs" / "index.html"


def due(page: Path, project: Path, after: timedelta = timedelta(hours=1)) -> bool:
    """Whether the page is due some time after noon."""
    from lettertrail.airflow.dbt_docs import is_due  # noqa: PLC0415

    return is_due(page, at=NOON + after, project=project)


def test_a_page_is_published(page: Path) -> None:
    """With nothing else beside it that could be served by mistake."""
    assert page.read_text(encoding="utf-8") == "<html>described</html>"
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "project.sha256"]


def test_an_unchanged_project_is_described_once_a_day(page: Path, project: Path) -> None:
    """What dbt leaves in the project is no change."""
    assert not due(page, project)
    (project / "target" / "a.sql").write_text("select 2", encoding="utf-8")
    assert not due(page, project, timedelta(hours=23))
    assert due(page, project, timedelta(days=1))


@pytest.mark.parametrize("name", ["models/a.sql", "models/a.yml", "models/new.sql", "seeds/new.csv"])
def test_a_changed_project_is_described_anew(page: Path, project: Path, name: str) -> None:
    """Another text, or another file."""
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text("something else", encoding="utf-8")
    assert due(page, project)


def test_a_missing_page_is_made(page: Path, project: Path) -> None:
    """The stamp alone is no page."""
    page.unlink()
    assert due(page, project)


def test_a_run_with_nothing_to_describe_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_home: None
) -> None:
    """The task publishes what dbt made of the real project; asked again within the day, the next run is skipped."""
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    from lettertrail.airflow import tasks  # noqa: PLC0415

    monkeypatch.setenv("LETTERTRAIL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(tasks, "run_moment", lambda: NOON)
    tasks.skip_described_project()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "static_index.html").write_text("<html></html>", encoding="utf-8")
    tasks.publish_docs(str(tmp_path))
    page = tmp_path / "state" / "docs" / "index.html"
    os.utime(page, (NOON.timestamp(), NOON.timestamp()))
    with pytest.raises(AirflowSkipException):
        tasks.skip_described_project()
