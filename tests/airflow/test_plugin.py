"""What the plugin adds to the web server."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from lettertrail.settings import PROJECT_ROOT


def load_plugin() -> ModuleType:
    """The plugin file, as Airflow's loader imports it."""
    path = PROJECT_ROOT / "plugins" / "lettertrail_plugin.py"
    spec = importlib.util.spec_from_file_location("lettertrail_plugin", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_accounts_there_is_no_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver without addresses would only answer 404, and need a database role for it."""
    monkeypatch.delenv("LETTERTRAIL_INBOX_ACCOUNTS", raising=False)
    assert {app["url_prefix"] for app in load_plugin().LetterTrailPlugin.fastapi_apps} == {"/lettertrail"}


def test_the_inbox_is_mounted(monkeypatch: pytest.MonkeyPatch, warehouse_dsn: str) -> None:
    """The address to register works below Airflow's own, a wrong one does not, and neither asks for a login."""
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.testclient import TestClient  # noqa: PLC0415

    token = "t" * 32
    monkeypatch.setenv("LETTERTRAIL_INBOX_ACCOUNTS", f'{{"mailchimp": {{"token": "{token}"}}}}')
    monkeypatch.setenv("LETTERTRAIL_INBOX_DSN", warehouse_dsn)
    monkeypatch.setenv("LETTERTRAIL_INBOX_URL", "https://airflow.example/inbox")
    server = Starlette()
    for app in load_plugin().LetterTrailPlugin.fastapi_apps:
        server.mount(app["url_prefix"], app["app"])
    client = TestClient(server)
    assert client.get(f"/inbox/mailchimp/marketing/{token}").status_code == 200
    assert client.get(f"/inbox/mailchimp/marketing/{'f' * 32}").status_code == 404


def test_the_preference_page_is_mounted(monkeypatch: pytest.MonkeyPatch, warehouse_dsn: str) -> None:
    """With secrets and a database, webhooks or not; its form stays below Airflow's address."""
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.testclient import TestClient  # noqa: PLC0415

    from lettertrail.preferences.links import Links  # noqa: PLC0415

    monkeypatch.delenv("LETTERTRAIL_INBOX_ACCOUNTS", raising=False)
    monkeypatch.setenv("LETTERTRAIL_LINK_SECRETS", "s" * 32)
    assert len(load_plugin().LetterTrailPlugin.fastapi_apps) == 1
    monkeypatch.setenv("LETTERTRAIL_INBOX_DSN", warehouse_dsn)
    with psycopg.connect(warehouse_dsn) as connection:
        number = connection.execute(
            "insert into ops.links (email, made_at) values ('ann@example.com', now()) returning link_id"
        ).fetchone()
    assert number is not None
    server = Starlette()
    for app in load_plugin().LetterTrailPlugin.fastapi_apps:
        server.mount(app["url_prefix"], app["app"])
    with TestClient(server) as client:
        answer = client.get(f"/inbox/preferences/{Links((b's' * 32,), '').token('preferences', number[0])}")
    assert answer.status_code == 200
    assert "action=" not in answer.text


def test_pages_are_for_those_who_are_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The report holds revenue; Airflow mounts a plugin's app without asking who comes."""
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.testclient import TestClient  # noqa: PLC0415

    monkeypatch.setenv("LETTERTRAIL_STATE_DIR", str(tmp_path))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("revenue", encoding="utf-8")
    server = Starlette()
    for app in load_plugin().LetterTrailPlugin.fastapi_apps:
        server.mount(app["url_prefix"], app["app"])
    answer = TestClient(server).get("/lettertrail/report/index.html")
    assert answer.status_code == 401
    assert "revenue" not in answer.text


@pytest.mark.parametrize(
    ("path", "is_served"),
    [
        ("report/index.html", True),
        ("docs/index.html", True),
        ("gx/raw_esp/index.html", True),
        ("report/missing.html", False),
        ("report", False),
        ("demo.json", False),
        ("report/../demo.json", False),
        ("report/link.json", False),
        ("/etc/passwd", False),
    ],
)
def test_only_pages_are_served(tmp_path: Path, path: str, is_served: bool) -> None:
    """The state directory holds passwords beside the pages."""
    from lettertrail.airflow.plugin import page_file  # noqa: PLC0415

    for name in ("report/index.html", "docs/index.html", "gx/raw_esp/index.html", "demo.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / "report" / "link.json").symlink_to(tmp_path / "demo.json")
    assert (page_file(tmp_path, path) is not None) == is_served


def test_every_link_leads_to_a_page(tmp_path: Path) -> None:
    """Each has a route of its own, below the address the pages are mounted at."""
    views = load_plugin().LetterTrailPlugin.external_views
    assert len({view["url_route"] for view in views}) == len(views) == 5
    assert all(view["href"].startswith("/lettertrail/") for view in views)
