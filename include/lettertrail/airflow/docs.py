"""DAG docs that say what was found out about this very installation."""

from __future__ import annotations

from pathlib import Path

from lettertrail.settings import Settings


def freshness_file() -> Path:
    """Where a run leaves how each table is kept fresh here, for the DAG's docs."""
    return Settings.from_env().state_dir / "bitrix" / "freshness.md"


def with_freshness(text: str | None) -> str:
    """The docs with that table behind them; a DAG file must not ask a database while it is parsed."""
    path = freshness_file()
    found = path.read_text(encoding="utf-8") if path.exists() else "Known after the first run."
    return f"{text}\n#### How each table is kept fresh here\n\n{found}\n"


def write_freshness(markdown: str) -> None:
    """Leaves the table for the next parse, all or nothing."""
    path = freshness_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(markdown, encoding="utf-8")
    draft.replace(path)
