"""A registry of handlers by method name, for services whose paths are method names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

HandlerT = TypeVar("HandlerT")


class Methods(Generic[HandlerT]):
    """Handlers by name; a decorator enters them."""

    def __init__(self) -> None:
        self._handlers: dict[str, HandlerT] = {}

    def on(self, *names: str) -> Callable[[HandlerT], HandlerT]:
        """Registers the decorated handler under each of the names."""

        def register(handler: HandlerT) -> HandlerT:
            self._handlers |= dict.fromkeys(names, handler)
            return handler

        return register

    def include(self, other: Methods[HandlerT]) -> None:
        """Takes over the methods of `other`."""
        self._handlers |= other._handlers

    def find(self, name: str) -> HandlerT | None:
        """The handler, if there is one."""
        return self._handlers.get(name)
