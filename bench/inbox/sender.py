"""A sender of webhooks: keep-alive connections, one request at a time on each, in one event loop."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast


@dataclass(slots=True)
class Tally:
    """What came of the requests sent; seconds from when each was due."""

    statuses: Counter[int] = field(default_factory=Counter)
    """0: no answer came."""
    seconds: list[float] = field(default_factory=list)
    """Of those that were accepted."""
    accepted: list[int] = field(default_factory=list)
    """Their numbers."""
    took: float = 0.0

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the accepted was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Line(asyncio.Protocol):
    """One connection; answers are complete at the empty line, for the receiver sends no bodies."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[int] | None = None
        self._got = b""
        self._transport: asyncio.Transport | None = None
        self.is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._got.endswith(b"\r\n\r\n"):
            status = int(self._got[9:12])
            self.is_closed = self.is_closed or b"connection: close" in self._got
            self._got = b""
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(0)

    async def ask(self, request: bytes) -> int:
        """The status, 0 when the connection went before it came."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.close()


async def send(
    requests: Iterable[bytes],
    port: int,
    *,
    connections: int,
    rate: float | None = None,
    repeat: bool = False,
    seconds: float = 600.0,
    tally: Tally | None = None,
) -> Tally:
    """Sends each request, on any of the connections.

    Args:
        rate: requests a second; each is due at its own time, and a late start counts. None: as fast as answers come.
        repeat: sends again what was not accepted, after a short pause, until it is.
        seconds: gives up after this long.
        tally: to count in, for those who want to look while it goes on.
    """
    tally = tally or Tally()
    began = time.monotonic()
    numbered = enumerate(requests)
    again: deque[tuple[int, bytes, float]] = deque()
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_work(numbered, tally, port=port, again=again, began=began, rate=rate, repeat=repeat))
    tally.took = time.monotonic() - began
    return tally


async def _work(
    numbered: Iterator[tuple[int, bytes]],
    tally: Tally,
    *,
    port: int,
    again: deque[tuple[int, bytes, float]],
    began: float,
    rate: float | None,
    repeat: bool,
) -> None:
    line: _Line | None = None
    while True:
        if again:
            number, request, due = again.popleft()
        else:
            try:
                number, request = next(numbered)
            except StopIteration:
                break
            due = time.monotonic() if rate is None else began + number / rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        if line is None or line.is_closed:
            line = await _connect(port)
        status = await line.ask(request) if line else 0
        tally.statuses[status] += 1
        if status == 200:
            tally.seconds.append(time.monotonic() - due)
            tally.accepted.append(number)
        elif repeat:
            again.append((number, request, due))
            await asyncio.sleep(0.05)
    if line is not None:
        line.close()


async def throw(requests: Iterable[tuple[str, bytes]], port: int, *, connections: int) -> Counter[tuple[str, int]]:
    """Throws bytes at the port, each on a connection of its own; how often which kind got which status.

    0: no answer in half a second, or hung up on without one, which is right for what is no request or not a whole one.
    """
    found: Counter[tuple[str, int]] = Counter()
    left = iter(requests)

    async def work() -> None:
        for kind, request in left:
            found[kind, await _thrown(request, port)] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(work())
    return found


async def _thrown(request: bytes, port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(0.5):
            line = await reader.readline()
            while line.startswith(b"HTTP/1.1 100"):
                await reader.readline()
                line = await reader.readline()
        return int(line[9:12]) if line.startswith(b"HTTP/1.1 ") else 0
    except (OSError, TimeoutError):
        return 0
    finally:
        writer.transport.abort()


async def _connect(port: int) -> _Line | None:
    try:
        _, line = await asyncio.get_running_loop().create_connection(_Line, "127.0.0.1", port)
    except OSError:
        return None
    return line
