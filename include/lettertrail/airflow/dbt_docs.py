"""The page that describes the dbt project: when it is due, and where it goes.

It changes when the project does; what it tells of the warehouse (columns, rows, sizes) is good enough a day old.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lettertrail.settings import DBT_PROJECT_DIR, Settings

MAX_AGE = timedelta(days=1)
_DESCRIBED = frozenset({".sql", ".yml", ".csv", ".md"})
_MADE_BY_DBT = frozenset({"target", "logs"})


def docs_page() -> Path:
    """Where the page lies; the plugin serves it to whoever is logged in."""
    return Settings.from_env().state_dir / "docs" / "index.html"


def is_due(page: Path, *, at: datetime, project: Path = DBT_PROJECT_DIR) -> bool:
    """True when there is no page, when it is of another version of the project, or a day old."""
    stamp = _stamp(page)
    if not page.exists() or not stamp.exists():
        return True
    written_at = datetime.fromtimestamp(page.stat().st_mtime, UTC)
    return at - written_at >= MAX_AGE or stamp.read_text(encoding="utf-8") != fingerprint(project)


def publish(made: Path, page: Path, *, project: Path = DBT_PROJECT_DIR) -> None:
    """Puts the page dbt made in its place in one step, then notes which project it describes."""
    page.parent.mkdir(parents=True, exist_ok=True)
    draft = page.with_suffix(".new")
    draft.write_bytes(made.read_bytes())
    draft.replace(page)
    _stamp(page).write_text(fingerprint(project), encoding="utf-8")


def fingerprint(project: Path) -> str:
    """Of everything in the project that the page shows."""
    digest = hashlib.sha256()
    for path in sorted(project.rglob("*")):
        name = path.relative_to(project)
        if path.suffix in _DESCRIBED and not _MADE_BY_DBT.intersection(name.parts):
            digest.update(f"{name}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _stamp(page: Path) -> Path:
    return page.with_name("project.sha256")
