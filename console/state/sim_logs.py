"""What pretended replicas write: lines made from the pretended world's requests and happenings, as stored bytes.

The same world gives the same lines. A request's lines carry its request id. Changes nothing in the world.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import cycle, islice
from typing import Final

import msgspec

from backend.contract.control import LogWindow
from backend.contract.log_chunks import LogChunk
from backend.contract.log_lines import Piece, to_row
from backend.contract.rows import LogRow, RequestRow
from console.state.log_head import stamp_of_ts
from console.state.sim_world import SimWorld

_LETTERS: Final = {"debug": "D", "info": "I", "warning": "W", "error": "E", "critical": "F"}
_NOISE: Final = (
    "I slot update_slots: id {slot} | task {n} | prompt processing progress, n_past = {a}, n_tokens = {b}",
    "I slot print_timing: id {slot} | task {n} | eval time = {a}.{b} ms / {c} runs",
    "D srv  update_chat_: kv cache holds {a} of 4096 cells",
    '{{"level":"info","event":"batch decoded","task":{n},"tokens":{b},"cells":{a}}}',
    "W srv  next_tokens_: slot {slot} waits for a batch since {a} ms",
    '{{"level":"debug","event":"cache hit","prefix_tokens":{a},"task":{n}}}',
)
FLOOD_LINES: Final = 256
LONGEST_S: Final = 60.0
"""No request's last line comes later after its first."""


class SimLogs:
    """Follows a world for one reader. `flood_per_s` lines a second come on top, over all replicas together."""

    def __init__(self, world: SimWorld, replicas: list[str] | None, lines: int) -> None:
        self._world, self._replicas, self._lines = world, replicas, lines
        self._seen_requests = 0
        self._seen_ts = float("-inf")
        self._due: list[tuple[float, str, str]] = []
        """Lines to come: (ts, replica, text). A request's last line is written when it ends."""
        self._flooded_ts: float | None = None
        self._owed = 0.0

    def take(self, now: float, *, flood_per_s: float = 0.0) -> list[LogChunk]:
        """What was written since the last time; at the first, the newest lines of each replica."""
        world, first = self._world, self._seen_ts == float("-inf")
        fresh = min(world.requests_made - self._seen_requests, len(world.requests))
        requests = list(world.requests)[len(world.requests) - fresh :]
        if first:  # long ago is not worth the work: each request writes at least three lines
            requests = _newest_of_each(requests, self._lines // 3 + 1)
        due = self._due
        for request in requests:
            if self._wants(request.replica):
                due += [(ts, request.replica or "", text) for ts, text in _lines_of(request)]
        due += [
            (row.ts, row.replica, _words_of(row))
            for row in world.logs
            if row.ts > self._seen_ts and self._wants(row.replica)
        ]
        self._seen_requests, self._seen_ts = world.requests_made, world.now
        self._due = [line for line in due if line[0] > world.now]
        written: dict[str, list[tuple[float, str]]] = {}
        for ts, replica, text in sorted(line for line in due if line[0] <= world.now):
            written.setdefault(replica, []).append((ts, text))
        chunks: list[LogChunk] = []
        for replica, lines in sorted(written.items()):
            chunks += self._chunks(replica, lines[-self._lines :] if first else lines)
        return chunks + self._flood(now, flood_per_s)

    def _wants(self, replica: str | None) -> bool:
        return bool(replica) and (self._replicas is None or replica in self._replicas)

    def _chunks(self, replica: str, lines: Iterable[tuple[float, str]]) -> list[LogChunk]:
        """One chunk for each life in these lines."""
        starts = [row.ts for row in self._world.events if row.subject == replica and row.kind == "replica.restarted"]
        one = self._world.find(replica)
        newest = one.restarts if one is not None else len(starts)
        lives: dict[int, list[bytes]] = {}
        for ts, text in lines:
            life = newest - sum(start > ts for start in starts)
            lives.setdefault(life, []).append(b"%sZ stderr F %s\n" % (stamp_of_ts(ts), text.encode()))
        return [
            LogChunk(replica=replica, incarnation=life, data=b"".join(data)) for life, data in sorted(lives.items())
        ]

    def _flood(self, now: float, per_s: float) -> list[LogChunk]:
        before, self._flooded_ts = self._flooded_ts, now
        names = [(one.name, one.restarts) for one in self._world.replicas if self._wants(one.name)]
        if before is None or per_s <= 0 or not names:
            return []
        self._owed += per_s * (now - before)
        each, self._owed = divmod(self._owed, len(names))
        head = stamp_of_ts(self._world.now) + b"Z stdout F "
        noise = _noise()
        return [
            LogChunk(replica=name, incarnation=life, data=head + (b"\n" + head).join(some) + b"\n")
            for number, (name, life) in enumerate(names)
            if (some := list(islice(cycle(noise), number, number + int(each))))
        ]


def window(world: SimWorld, replicas: list[str] | None, since_ts: float, until_ts: float, limit: int) -> LogWindow:
    """The newest `limit` lines with since_ts <= ts < until_ts that are written by now, as `SimLogs` writes them."""
    lines: list[tuple[float, str, str]] = [
        (row.ts, row.replica, _words_of(row)) for row in world.logs if replicas is None or row.replica in replicas
    ]
    older, edge = 0, float("-inf")
    asked = [row for row in world.requests if row.ts < until_ts and (replicas is None or row.replica in replicas)]
    for row in reversed(asked):
        if row.ts + LONGEST_S < since_ts:
            break
        if row.ts + LONGEST_S < edge:
            older += _count_of(row)
            continue
        lines += [(ts, row.replica or "", text) for ts, text in _lines_of(row)]
        if edge == float("-inf") and len(lines) > 2 * limit:
            edge = heapq.nlargest(limit, (ts for ts, _, _ in lines if ts < until_ts))[-1]
    lines = sorted(line for line in lines if since_ts <= line[0] < until_ts and line[0] <= world.now)
    cut = max(0, len(lines) - limit)
    rows = tuple(to_row(replica, Piece(ts, "stderr", True, text.encode())) for ts, replica, text in lines[cut:])
    return LogWindow(rows=rows, truncated=older + cut)


def _newest_of_each(requests: list[RequestRow], count: int) -> list[RequestRow]:
    """The newest `count` requests of each replica, oldest first."""
    seen: Counter[str | None] = Counter()
    kept: list[RequestRow] = []
    for request in reversed(requests):
        seen[request.replica] += 1
        if seen[request.replica] <= count:
            kept.append(request)
    return kept[::-1]


@cache
def _noise() -> tuple[bytes, ...]:
    """Lines of a busy server, made once."""
    made: list[bytes] = []
    for n in range(FLOOD_LINES):
        a, b = n * 7919 % 4096, n * 104_729 % 512
        text = _NOISE[n * 31 % len(_NOISE)].format(slot=n % 4, n=1000 + n, a=a, b=b, c=b % 97 + 1)
        clock = "" if text.startswith("{") else f"{n % 60}.{a % 60:02d}.{b:03d}.{n * 3 % 1000:03d} "
        made.append((clock + text).encode())
    return tuple(made)


def _words_of(row: LogRow) -> str:
    letter = _LETTERS.get(row.level or "info", "I")
    about = f" request_id={row.correlation_id}" if row.correlation_id else ""
    return f"{_since(row.ts)} {letter} srv  {row.message}{about}"


def _lines_of(row: RequestRow) -> list[tuple[float, str]]:
    """What a server says of one request, from its first word to its last."""
    dice = int(row.request_id[-8:], 16)
    total = row.total_s or 0.0
    first = row.ttft_s if row.ttft_s is not None else total * 0.8
    slot, task = dice % 4, dice // 4 % 10_000
    tokens = row.tokens_out or 0
    ended = {
        "level": "info",
        "event": "request done",
        "request_id": row.request_id,
        "path": row.route,
        "status": row.status,
        "ttft_ms": round(first * 1000, 1),
        "total_ms": round(total * 1000, 1),
        "tokens": tokens,
        "slot": slot,
    }
    asked, answered = row.ts, row.ts + first
    timing = f"prompt eval time = {first * 1000:.2f} ms / {dice % 480 + 16} tokens"
    lines = [
        (asked, f"{_since(asked)} I slot launch_slot_: id {slot} | task {task} | request_id={row.request_id}"),
        (answered, f"{_since(answered)} I slot print_timing: id {slot} | task {task} | {timing}"),
    ]
    if first > 1.0:
        said = f"W srv  next_tokens_: the first token took {first * 1000:.0f} ms request_id={row.request_id}"
        lines.append((answered, f"{_since(answered)} {said}"))
    if dice % 211 == 0:
        said = f"E srv  send_error: task {task}: client went away before the answer request_id={row.request_id}"
        lines.append((row.ts + total, f"{_since(row.ts + total)} {said}"))
    lines.append((row.ts + total, msgspec.json.encode(ended).decode()))
    return lines


def _count_of(row: RequestRow) -> int:
    """How many lines `_lines_of` makes of it."""
    first = row.ttft_s if row.ttft_s is not None else (row.total_s or 0.0) * 0.8
    return 3 + (first > 1.0) + (int(row.request_id[-8:], 16) % 211 == 0)


def _since(ts: float) -> str:
    """How such servers write the time: minutes, seconds, milliseconds, microseconds."""
    whole, part = divmod(round(ts * 1e6) % 3_600_000_000, 1_000_000)
    return f"{whole // 60}.{whole % 60:02d}.{part // 1000:03d}.{part % 1000:03d}"
