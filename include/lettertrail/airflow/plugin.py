"""What the plugin adds to Airflow's web server: the inbox, and for whoever is logged in report, dbt docs and Data Docs.

Every process of Airflow loads the plugin, and only the web server serves anything: the apps are made at their first
request.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from lettertrail.settings import Settings

PAGES = "/lettertrail"
INBOX = "/inbox"

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class LazyApp:
    """An ASGI app that is made when the first request comes."""

    def __init__(self, make: Callable[[], App]) -> None:
        self._make = make
        self._app: App | None = None

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if self._app is None:
            self._app = self._make()
        await self._app(scope, receive, send)


def web_apps() -> list[dict[str, Any]]:
    """The apps to mount. The inbox only where it has webhooks to take or links to answer: see docs/inbox.md."""
    apps = [{"name": "LetterTrail pages", "url_prefix": PAGES, "app": LazyApp(_pages)}]
    if _is_set("LETTERTRAIL_INBOX_ACCOUNTS") or (
        _is_set("LETTERTRAIL_LINK_SECRETS") and _is_set("LETTERTRAIL_INBOX_DSN")
    ):
        apps.append({"name": "LetterTrail inbox", "url_prefix": INBOX, "app": LazyApp(_inbox)})
    return apps


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name, "").strip())


def links() -> list[dict[str, Any]]:
    """Entries of the menu."""
    pages = {
        "Letter report": "report/index.html",
        "Marts and lineage": "docs/index.html",
        "Quality: site": "gx/raw_bitrix/index.html",
        "Quality: ESPs": "gx/raw_esp/index.html",
        "Quality: segments": "gx/segments/index.html",
    }
    return [
        {
            "name": name,
            "href": f"{PAGES}/{page}",
            "url_route": page.rpartition("/")[0].replace("/", "-"),
            "destination": "nav",
            "category": "browse",
        }
        for name, page in pages.items()
    ]


def page_file(root: Path, path: str) -> Path | None:
    """The file behind a page's path; None for whatever lies elsewhere or is no file."""
    found = (root / path).resolve()
    is_ours = any(found.is_relative_to((root / name).resolve()) for name in ("report", "docs", "gx"))
    return found if is_ours and found.is_file() else None


def _pages() -> App:
    # Imported here: every process of Airflow loads this module, and only the web server needs these.
    from airflow.api_fastapi.auth.managers.models.resource_details import AccessView  # noqa: PLC0415
    from airflow.api_fastapi.core_api.security import requires_access_view  # noqa: PLC0415
    from fastapi import Depends, FastAPI, HTTPException  # noqa: PLC0415
    from fastapi.responses import FileResponse  # noqa: PLC0415

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    root = Settings.from_env().state_dir

    @app.get("/{path:path}", dependencies=[Depends(requires_access_view(AccessView.PLUGINS))])
    def page(path: str) -> FileResponse:
        file = page_file(root, path)
        if file is None:
            raise HTTPException(404, "not written yet: it comes with the first run")
        return FileResponse(file)

    return app


def _inbox() -> App:
    from lettertrail.inbox.app import create_app  # noqa: PLC0415

    return create_app()
