"""The rooms of the house: who may use whom, and where each thing is allowed to happen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lettertrail.settings import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "include" / "lettertrail"
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module name imported anywhere in the file, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """The sub-package a module lives in; the module's own name for those at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def offenders(forbidden: tuple[str, ...], *, except_in: frozenset[str] = frozenset()) -> list[str]:
    """Modules outside `except_in` that import something forbidden."""
    return [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in MODULES
        if room(path) not in except_in
        for name in imports(path)
        if any(name == word or name.startswith(f"{word}.") for word in forbidden)
    ]


def test_the_package_is_found() -> None:
    """The rules below look at something."""
    assert len(MODULES) > 30


@pytest.mark.parametrize(
    ("forbidden", "except_in"),
    [
        pytest.param(("airflow", "cosmos"), frozenset({"airflow"}), id="only lettertrail.airflow knows Airflow"),
        pytest.param(("dbt",), frozenset(), id="nobody imports dbt"),
        pytest.param(("dags", "plugins"), frozenset(), id="nobody imports the wiring"),
        pytest.param(("lettertrail.airflow",), frozenset({"airflow"}), id="nobody imports lettertrail.airflow"),
        pytest.param(("lettertrail.sandbox",), frozenset({"sandbox", "demo"}), id="only the demo imports the sandbox"),
        pytest.param(
            ("requests", "httpx", "aiohttp", "urllib.request"), frozenset({"http"}), id="only http.py speaks HTTP"
        ),
        pytest.param(("lettertrail.demo",), frozenset({"demo"}), id="nobody imports the demo"),
    ],
)
def test_dependencies_point_inward(forbidden: tuple[str, ...], except_in: frozenset[str]) -> None:
    """No module reaches for a room it must not know."""
    assert offenders(forbidden, except_in=except_in) == []


def test_the_sandbox_knows_nothing_of_the_adapters() -> None:
    """A sandbox built from our own client would only prove that we agree with ourselves."""
    clients = ("lettertrail.esps", "lettertrail.http", "lettertrail.bitrix", "lettertrail.audiences")
    assert [line for line in offenders(clients) if line.startswith("sandbox/")] == []


def test_the_relay_knows_nothing_of_the_inbox() -> None:
    """The inbox hands letters in; what holds the keys of the services takes nothing from the internet."""
    assert [line for line in offenders(("lettertrail.inbox",)) if line.startswith("relay/")] == []


def test_dags_hold_no_database_and_no_network() -> None:
    """A DAG file wires; whatever connects belongs in a task body."""
    forbidden = ("psycopg", "requests", "MySQLdb", "sqlalchemy", "connectorx", "adbc_driver_postgresql")
    found = [
        f"{path.name} imports {name}"
        for path in sorted((PROJECT_ROOT / "dags").glob("*.py"))
        for name in imports(path)
        if name.split(".")[0] in forbidden
    ]
    assert found == []


def test_nothing_asks_the_time_but_the_clock() -> None:
    """`datetime.now()` and `time.time()` live in clock.py; the demo, a program of its own, may look at the wall."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in MODULES
        if room(path) not in {"clock", "demo", "sandbox"}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func) in {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time"}
    ]
    assert found == []
