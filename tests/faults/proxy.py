"""A TCP proxy that cuts connections as a network does: with a reset, in mid-stream."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Literal

Direction = Literal["to client", "to server"]
_PIECE = 16_384


class Proxy:
    """Listens on 127.0.0.1:`port` and passes everything on to another local port, until told to cut."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        """How many pairs of connections were reset."""
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._budget: int | None = None
        self._counted: Direction = "to client"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()

    def cut_after(self, size: int, direction: Direction) -> None:
        """Cuts everything once, behind the next `size` bytes that go in `direction`, over all connections together."""
        with self._lock:
            self._budget, self._counted = size, direction

    def cut(self) -> None:
        """Resets every connection there is; new ones are welcome."""
        with self._lock:
            self._budget = None
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            self.cuts += 1
            for end in pair:
                with contextlib.suppress(OSError):
                    # Lingering for zero seconds makes close() send RST; shutdown() wakes the thread that reads.
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RD)
                end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            for source, sink, direction in ((client, server, "to server"), (server, client, "to client")):
                threading.Thread(target=self._pass_on, args=(source, sink, direction), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                allowed = self._allowed(len(piece), direction)
                sink.sendall(piece[:allowed])
                if allowed < len(piece):
                    self.cut()
                    return
            sink.shutdown(socket.SHUT_WR)

    def _allowed(self, size: int, direction: Direction) -> int:
        with self._lock:
            if self._budget is None or direction != self._counted:
                return size
            allowed = min(size, self._budget)
            self._budget -= allowed
            return allowed
