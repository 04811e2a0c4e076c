"""A headless Chromium, driven by the DevTools protocol: what a person with a browser would see and press."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 30.0
"""Seconds for anything; a busy machine starts a browser slowly."""


def program() -> str:
    """The browser's program.

    Raises:
        FileNotFoundError: there is none; these tests do not pass without one.
    """
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise FileNotFoundError(
            "no Chromium on this machine, and the pages must be seen in one: run scripts/bootstrap dev"
        )
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Starts one with a profile of its own, and ends it."""
    with tempfile.TemporaryDirectory(prefix="lettertrail-browser-", ignore_cleanup_errors=True) as profile:
        command = [
            program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                with connect(_address(Path(profile), process), max_size=None) as socket:
                    yield Browser(socket)
            finally:
                process.terminate()
                process.wait(PATIENCE)


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Where it listens, which it writes down once it does."""
    deadline = time.monotonic() + PATIENCE
    file = profile / "DevToolsActivePort"
    while time.monotonic() < deadline and process.poll() is None:
        lines = file.read_text().split() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise TimeoutError(f"{PROGRAMS[0]} did not start")


@dataclass
class Browser:
    """Commands to the whole browser."""

    socket: ClientConnection
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    seen: list[dict[str, Any]] = field(default_factory=list)
    """Events that came, oldest first."""

    def ask(self, method: str, session: str | None = None, **values: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer; what else comes is kept."""
        number = next(self.numbers)
        told = {"id": number, "method": method, "params": values}
        self.socket.send(json.dumps(told | ({"sessionId": session} if session else {})))
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return dict(message["result"])

    def wait_for(self, event: str, session: str) -> dict[str, Any]:
        """The next event of that name that was not waited for yet."""
        while True:
            for place, message in enumerate(self.seen):
                if message["method"] == event and message.get("sessionId") == session:
                    return dict(self.seen.pop(place)["params"])
            self._receive()

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=PATIENCE))
        if "method" in message:
            self.seen.append(message)
        return message

    @contextmanager
    def tab(self, *, language: str = "en", width: int = 1200, height: int = 900, script: bool = True) -> Iterator[Tab]:
        """A tab with nothing of the others: no cookies, no cache. Below 600 pixels it is a phone's."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Network", "Log", "Runtime", "Accessibility"):
            tab.ask(f"{domain}.enable")
        tab.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        tab.ask("Emulation.setScriptExecutionDisabled", value=not script)
        tab.ask("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
        try:
            yield tab
        finally:
            self.ask("Target.disposeBrowserContext", browserContextId=context)


@dataclass
class Tab:
    """One page."""

    browser: Browser
    session: str

    def ask(self, method: str, **values: Any) -> dict[str, Any]:
        """A command to this page."""
        return self.browser.ask(method, self.session, **values)

    def open(self, url: str) -> None:
        """Goes there and waits until all of it is there."""
        self.ask("Page.navigate", url=url)
        self.browser.wait_for("Page.loadEventFired", self.session)

    def read(self, expression: str) -> Any:
        """What an expression says of the page; it is ours, not the page's script."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def texts(self, selector: str) -> list[str]:
        """The visible text of every such element."""
        found: list[str] = self.read(
            f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText.trim())"
        )
        return found

    def click(self, selector: str, *, leaves: bool = False) -> None:
        """Presses in the middle of an element, as a person does. `leaves`: another page follows."""
        x, y = self.read(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();"
            f" return [r.x + r.width / 2, r.y + r.height / 2] }})(document.querySelector({json.dumps(selector)}))"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        if leaves:
            self.browser.wait_for("Page.loadEventFired", self.session)

    def press(self, key: str, code: int, *, leaves: bool = False) -> None:
        """A key of the keyboard, by its name and number."""
        text = "\r" if key == "Enter" else " " if key == " " else ""
        shared = {"key": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **shared)
        if leaves:
            self.browser.wait_for("Page.loadEventFired", self.session)

    def requests(self) -> list[str]:
        """Addresses that were asked for so far."""
        self.ask("Page.getLayoutMetrics")  # whatever was sent before has arrived now
        return [event["params"]["request"]["url"] for event in self._events("Network.requestWillBeSent")]

    def complaints(self) -> list[str]:
        """What the browser wrote into its console: refusals of the content policy among it."""
        self.ask("Page.getLayoutMetrics")
        return [event["params"]["entry"]["text"] for event in self._events("Log.entryAdded")]

    def _events(self, method: str) -> list[dict[str, Any]]:
        return [one for one in self.browser.seen if one["method"] == method and one.get("sessionId") == self.session]
