"""What every benchmark does as a program: options, a log, and a page of figures beside it."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """One figure, what was asked for, and whether it holds."""

    what: str
    measured: str
    asked: str
    holds: bool


def argument_parser(file: str, description: str | None) -> argparse.ArgumentParser:
    """The options of the benchmark whose `__main__` is `file`; `--out` is its page, results.md beside it by default."""
    main = Path(file)
    parser = argparse.ArgumentParser(prog=f"python -m bench.{main.parent.name}", description=description)
    parser.add_argument("--out", type=Path, default=main.with_name("results.md"))
    return parser


def log_to_stderr() -> None:
    """What the benchmark says, and of the product only warnings."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("lettertrail").setLevel(logging.WARNING)


def write_lines(out: Path, title: str, made_by: str, lines: Sequence[Line]) -> bool:
    """Writes the page; gives whether every line holds."""
    rows = [f"| {line.what} | {line.measured} | {line.asked} | {'yes' if line.holds else '**no**'} |" for line in lines]
    page = [f"# {title}", "", f"Made by `{made_by}` against the sandbox twins.", ""]
    page += ["| | Measured | Asked | Holds |", "|---|---|---|---|", *rows]
    out.write_text("\n".join(page) + "\n", encoding="utf-8")
    return all(line.holds for line in lines)
