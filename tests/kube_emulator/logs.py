"""What containers wrote: lines with times, per container and start. Readers follow it. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.kube_emulator.defaults import timestamp_micro

_KEPT_LINES = 20_000


@dataclass
class Output:
    """Of one container between a start and its end."""

    lines: deque[tuple[int, float, bytes]] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    """(number, seconds since the epoch, text without its newline)."""
    count: int = 0
    ended: bool = False
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, text: str | bytes, *, ts: float | None = None) -> None:
        raw = text.encode() if isinstance(text, str) else text
        for line in raw.removesuffix(b"\n").split(b"\n"):
            self.lines.append((self.count, time.time() if ts is None else ts, line))
            self.count += 1
        self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        woken, self.more = self.more, asyncio.Event()
        woken.set()

    async def read(
        self, *, follow: bool, tail: int | None, since_ts: float | None, timestamps: bool
    ) -> AsyncIterator[bytes]:
        """Blocks of whole lines; ends at the end of the container, or of what there is."""
        chosen = [entry for entry in self.lines if since_ts is None or entry[1] >= since_ts]
        if tail is not None:
            chosen = chosen[len(chosen) - tail :] if 0 < tail < len(chosen) else (chosen if tail else [])
        told = self.count
        if chosen:
            yield b"".join(self._shown(entry, timestamps) for entry in chosen)
        while follow:
            more = self.more
            fresh = [entry for entry in self.lines if entry[0] >= told]
            if fresh:
                told = self.count
                yield b"".join(self._shown(entry, timestamps) for entry in fresh)
                continue
            if self.ended:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(more.wait(), 60.0)

    @staticmethod
    def _shown(entry: tuple[int, float, bytes], timestamps: bool) -> bytes:
        if not timestamps:
            return entry[2] + b"\n"
        return timestamp_micro(entry[1]).replace("Z", "000Z").encode() + b" " + entry[2] + b"\n"


class Logs:
    """Outputs of all containers: the present one and the one before it, by pod uid and container."""

    def __init__(self) -> None:
        self._outputs: dict[tuple[str, str], list[Output]] = {}

    def start(self, uid: str, container: str) -> Output:
        """A container starts: what it wrote before becomes `previous`."""
        kept = self._outputs.setdefault((uid, container), [])
        if kept:
            kept[-1].end()
        kept.append(Output())
        del kept[:-2]
        return kept[-1]

    def current(self, uid: str, container: str) -> Output:
        """Begun by whoever asks first."""
        kept = self._outputs.get((uid, container))
        return kept[-1] if kept else self.start(uid, container)

    def previous(self, uid: str, container: str) -> Output | None:
        kept = self._outputs.get((uid, container)) or []
        return kept[-2] if len(kept) > 1 else None

    def forget(self, uid: str) -> None:
        """The pod is gone: followers come to the end."""
        for key in [key for key in self._outputs if key[0] == uid]:
            for output in self._outputs.pop(key):
                output.end()
