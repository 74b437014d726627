"""Overload at three times the capacity with the longest prompts: busy is not stuck.

A real fleet of the bundled model gets streams with prompts that fill a slot's context, for as long as asked. Printed:
what clients got, the slowest steps, and every ejection, of which there must be none. Exit 0 when the line holds.

    python -m tests.certify.overload --minutes 10        # the line of issue 3
    python -m tests.certify.overload --seconds 40 --tokens 400   # the form for CI
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import httpx

from backend.contract.rows import RequestRow
from backend.load.outcome import CANCELLED
from backend.load.prompts import WORDS
from tests.e2e.background_load import BackgroundLoad, chat_load
from tests.e2e.harness import RealFleet, wait_for

FLEET = """\
trinity: 1
edge: {{max_queue: {queue}}}
workloads:
  llm: {{builtin: llm, request_deadline: {deadline}s}}
"""
DEADLINE_S = 1200
"""Long enough that what is admitted can end on two cores (with 300 s, the first to fill the slots met their deadline):
admission is asked here, not how late a deadline strikes."""
TRIES = 3
FALSE_EJECTIONS = ("edge.ejected", "replica.died", "edge.marked-down", "edge.drained")


def longest_prompt_tokens(fleet: RealFleet) -> int:
    """What a slot's context holds beside a short answer."""
    replica = next(view.status for view in fleet.snapshot().replicas if view.status.port)
    slots = httpx.get(f"http://127.0.0.1:{replica.port}/slots", timeout=60.0).json()
    return int(min(slot["n_ctx"] for slot in slots) * 0.85)


def prefill_rate(fleet: RealFleet, tokens: int) -> float:
    """Prompt tokens a second of one replica alone: the best of some requests, none of which begins as another did. A
    machine that stands still in one of them is no slow engine, and a load below its capacity would be no overload."""
    best = 0.0
    for number in range(TRIES):
        prompt = " ".join(WORDS[(index + 7 * number) % len(WORDS)] for index in range(tokens))
        began = time.monotonic()
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 1}
        httpx.post(f"{fleet.url}/v1/chat/completions", json=body, timeout=300.0).raise_for_status()
        best = max(best, tokens / (time.monotonic() - began))
    return best


def allowed(row: RequestRow) -> bool:
    """A good answer, or an honest refusal that says when to come back. What the end of the run cut off is neither."""
    return row.outcome in ("ok", "slow", "shed") or row.termination == CANCELLED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--factor", type=float, default=3.0, help="times the capacity")
    parser.add_argument("--tokens", type=int, default=0, help="of a prompt; as many as a slot holds where 0")
    parser.add_argument("--queue", type=int, default=8, help="requests that may wait")
    asked = parser.parse_args()
    seconds = asked.minutes * 60 + asked.seconds or 600.0
    with RealFleet() as fleet:
        fleet.state.mkdir()
        (fleet.root / "trinity.yaml").write_text(FLEET.format(queue=asked.queue, deadline=DEADLINE_S))
        fleet.up()
        return run(fleet, seconds, asked.factor, asked.tokens)


def run(fleet: RealFleet, seconds: float, factor: float, tokens: int) -> int:
    """Measure, overload, print; the exit code."""
    fleet.until_ready(2)
    tokens = tokens or longest_prompt_tokens(fleet)
    rate = factor * prefill_rate(fleet, tokens // 4) * 2 / tokens
    print(f"prompts of {tokens} tokens, {rate:.2f} a second ({factor:g} times what two replicas can), {seconds:g} s")
    began = time.time()
    spec = chat_load(
        fleet,
        rate=rate,
        prompt_tokens_min=tokens,
        prompt_tokens_max=tokens,
        stream_fraction=1.0,
        deadline_s=DEADLINE_S + 100.0,
        grace_s=1.0,
    )
    load = BackgroundLoad(spec)

    def over() -> bool:
        """A slow machine gets few of them a minute: it goes on until its queue is full."""
        return time.time() - began > seconds and any(row.outcome == "shed" for row in list(load.rows))

    wait_for(over, seconds + 300.0, "refusal")
    summary = load.finish()
    got = Counter(row.termination or row.outcome for row in load.rows)
    events = [event for event in fleet.events(since_ts=began) if event.kind in FALSE_EJECTIONS]
    wrong = [row for row in load.rows if not allowed(row)]
    print(f"{summary.total} requests: {dict(got)}; wrong endings: {len(wrong)}")
    for row in wrong[:5]:
        print(f"  {row.request_id}: {row.status} {row.termination} after {row.total_s} s: {row.error}")
    print(f"ejections: {len(events)} {[(event.kind, event.subject, event.message) for event in events]}")
    shed = sum(row.outcome == "shed" for row in load.rows)
    holds = not events and not wrong and shed > 0
    print("holds" if holds else "DOES NOT HOLD")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
