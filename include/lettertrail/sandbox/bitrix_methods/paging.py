"""Pages of 50 as bitrix.md 6.2 has them: `start` is an offset; `start` = −1 neither counts nor says what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lettertrail.sandbox.bitrix_methods.portal import Params, Reply, integer

PAGE = 50


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of a list were asked for."""

    offset: int
    is_counted: bool

    def reply(self, result: Any, *, shown: int, total: int | None) -> Reply:
        """The answer with `total` and, while there are more, `next`."""
        if total is None or not self.is_counted:
            return Reply(result)
        return Reply(result, total, self.offset + PAGE if self.offset + shown < total else None)


def page_of(params: Params) -> Page:
    """The page a caller asks for; a `start` within a page means that page."""
    start = integer(params.get("start", params.get("START", 0))) or 0
    return Page(offset=max(0, start) // PAGE * PAGE, is_counted=start >= 0)
