"""Progress as steps: what runs now, what came out of it, how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_NAME_WIDTH = 26
_RESULT_WIDTH = 62


class Step:
    """A step under way; `tell` shows where it is, `result` is what its closing line says."""

    def __init__(self, name: str, out: TextIO) -> None:
        self._name = name
        self._out = out
        self._began = time.monotonic()
        self._shown = ""
        self._last_line_at = self._began
        self.result = ""

    def tell(self, state: str) -> None:
        """Shows the present state: in place on a terminal, as a line every ten seconds elsewhere."""
        if state == self._shown:
            return
        if self._out.isatty():
            self._out.write(f"\r  … {self._name:<{_NAME_WIDTH}} {state[:_RESULT_WIDTH]:<{_RESULT_WIDTH}}")
            self._out.flush()
        elif time.monotonic() - self._last_line_at >= 10:
            self._out.write(f"  … {self._name:<{_NAME_WIDTH}} {state}\n")
            self._out.flush()
            self._last_line_at = time.monotonic()
        self._shown = state

    def close(self, *, ok: bool) -> None:
        """Prints the closing line with the duration."""
        seconds = time.monotonic() - self._began
        start = "\r" if self._out.isatty() else ""
        mark = "✓" if ok else "✗"
        text = self.result if ok else "failed"
        self._out.write(f"{start}  {mark} {self._name:<{_NAME_WIDTH}} {text:<{_RESULT_WIDTH}} {seconds:6.1f} s\n")
        self._out.flush()


@contextmanager
def step(name: str, out: TextIO | None = None) -> Iterator[Step]:
    """Times a step and prints one line when it ends, whichever way it ends."""
    current = Step(name, out or sys.stdout)
    ok = False
    try:
        yield current
        ok = True
    finally:
        current.close(ok=ok)


def count(number: int) -> str:
    """`1 234 567`: thousands apart, for people."""
    return f"{number:,}".replace(",", " ")
