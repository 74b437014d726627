"""`trinity load`: open-loop load through the edge (or any URL), with progress and an honest summary."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from backend.commands.output import Progress, milliseconds, narrate, print_json
from backend.commands.place import Place, common
from backend.contract import exit_codes
from backend.contract.errors import InternalError, Unreachable, UsageError
from backend.contract.rows import RequestRow
from backend.control_client import ControlClient
from backend.daemon_start import daemon_answers
from backend.load.messages import Latency, LoadSummary, ProgressMessage, RowMessage, SummaryMessage
from backend.load.process import LoadProcess
from backend.load.spec import LoadSpec, check_spec

_DEFAULT_COUNT = 100


@click.command()
@click.option("--url", help="Target (default: the fleet's edge).")
@click.option("--rate", default=4.0, show_default=True, help="Arrivals per second.")
@click.option("--count", type=int, help="Arrivals in all (default: 100, unless --duration).")
@click.option("--duration", type=float, help="Seconds of arrivals.")
@click.option("--arrival", type=click.Choice(["poisson", "constant"]), default="poisson", show_default=True)
@click.option(
    "--concurrency", default=1000, show_default=True, help="Most in flight; above it arrivals are counted, not sent."
)
@click.option(
    "--kind", type=click.Choice(["completion", "chat", "embeddings", "get"]), default="completion", show_default=True
)
@click.option(
    "--prompts", type=click.Path(path_type=Path, dir_okay=False), help="File: one prompt a line, or JSON lines."
)
@click.option("--prompt-tokens", default="10:200", show_default=True, help="Range of built-in prompts.")
@click.option("--max-tokens", default=32, show_default=True)
@click.option("--temperature", default=0.0, show_default=True)
@click.option("--stream-fraction", default=1.0, show_default=True, help="Share of requests that stream.")
@click.option("--deadline", default=600.0, show_default=True, help="Seconds for one request.")
@click.option("--seed", default=0, show_default=True)
@click.option("--api-key", envvar="TRINITY_API_KEY", help="For an edge that wants one [env: TRINITY_API_KEY].")
@common()
def load(place: Place, **options: Any) -> None:
    """Send load at a fixed rate whatever the answers do; exit code 1 if any request failed.

    Ctrl-C ends it early, with a summary and exit code 130.
    """
    url = options["url"] or _edge_url(place)
    low, high = _range(options["prompt_tokens"])
    count, duration = options["count"], options["duration"]
    spec = LoadSpec(
        url=url,
        kind=options["kind"],
        rate=options["rate"],
        arrival=options["arrival"],
        count=_DEFAULT_COUNT if count is None and duration is None else count,
        duration_s=duration,
        concurrency=options["concurrency"],
        prompts_file=str(options["prompts"]) if options["prompts"] else None,
        prompt_tokens_min=low,
        prompt_tokens_max=high,
        max_tokens=options["max_tokens"],
        temperature=options["temperature"],
        stream_fraction=options["stream_fraction"],
        deadline_s=options["deadline"],
        seed=options["seed"],
        api_key=options["api_key"],
        fleet=place.fleet,
    )
    check_spec(spec)
    summary, interrupted = asyncio.run(_run(spec, None if options["url"] else place))
    if place.json:
        print_json(summary)
    else:
        _print_summary(summary, url)
    if interrupted:
        raise SystemExit(exit_codes.INTERRUPTED)
    if summary.failed or summary.wrong:
        raise SystemExit(exit_codes.FAILED)


def _edge_url(place: Place) -> str:
    if not daemon_answers(place.daemon):
        raise Unreachable("No daemon runs for this state directory.", "Start it with `trinity up`, or give --url.")
    snapshot = place.run(lambda client: client.snapshot())
    if not snapshot.public_url:
        raise UsageError(f"{snapshot.fleet} has no edge of ours to send load to.", "Name a server with --url.")
    return snapshot.public_url


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition(":")
    if not low.isdigit() or not (high or low).isdigit():
        raise UsageError(f"--prompt-tokens {text} is no range.", "Write e.g. --prompt-tokens 10:200.")
    return int(low), int(high or low)


class _Recorder:
    """Hands rows to the fleet's ledger in batches, where the load goes to that fleet."""

    def __init__(self, place: Place | None) -> None:
        self._client = ControlClient(place.paths.control_socket) if place else None
        self._rows: list[RequestRow] = []

    def take(self, row: RequestRow) -> None:
        if self._client is not None:
            self._rows.append(row)

    async def flush(self) -> None:
        rows, self._rows = self._rows, []
        if self._client is None or not rows:
            return
        try:
            await self._client.record(rows)
        except Unreachable:
            self._rows = rows + self._rows  # a daemon that restarts gets them with the next batch

    async def close(self) -> None:
        await self.flush()
        if self._rows:
            narrate(f"{len(self._rows)} rows did not reach the ledger: no daemon answers.")
        if self._client is not None:
            await self._client.aclose()


async def _run(spec: LoadSpec, place: Place | None) -> tuple[LoadSummary, bool]:
    """Run it in its own process; the summary, and whether it was interrupted.

    Ctrl-C stops arrivals, waits for what is in flight, and still has a summary."""
    progress, recorder = Progress(), _Recorder(place)
    process = await LoadProcess.start(spec, nice=0)
    try:
        async for message in process:
            if isinstance(message, RowMessage):
                recorder.take(message.row)
            elif isinstance(message, ProgressMessage):
                await recorder.flush()
                progress.show(
                    f"{message.elapsed_s:.0f} s · {message.arrivals} sent · {message.in_flight} in flight · "
                    f"{message.ok} ok · {message.failed} failed"
                )
            elif isinstance(message, SummaryMessage):
                return message.summary, False
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        progress.end()
        narrate("Stopping: no new arrivals, waiting for what is in flight…")
        return await process.stop(), True
    finally:
        progress.end()
        await recorder.close()
    raise InternalError("The load generator ended without a summary.", "Report this.")


def _line(name: str, seen: Latency) -> str:
    p50, p95, p99, most = (milliseconds(v) for v in (seen.p50_s, seen.p95_s, seen.p99_s, seen.max_s))
    return f"  {name:<12} p50 {p50}, p95 {p95}, p99 {p99}, max {most}  ({seen.count})"


def _print_summary(summary: LoadSummary, url: str) -> None:
    good = summary.ok + summary.slow
    tokens = "-" if summary.tokens_per_s is None else f"{summary.tokens_per_s:.1f}"
    click.echo(f"{url}: {summary.total} requests in {summary.duration_s:.1f} s (seed {summary.seed})")
    click.echo(f"  ok           {good}")
    click.echo(f"  failed       {summary.failed}  ({summary.failed_before_first_byte} before a first byte)")
    click.echo(f"  shed         {summary.shed}")
    click.echo(f"  requests/s   {summary.requests_per_s:.2f}")
    click.echo(f"  tokens/s     {tokens}")
    click.echo(_line("TTFT", summary.ttft))
    click.echo(_line("total", summary.latency))
    click.echo(_line("generator lag", summary.lag))
    for name, number in sorted(summary.terminations.items()):
        click.echo(f"  ended as {name}: {number}")
    if summary.refused_by_cap:
        click.echo(f"  not sent     {summary.refused_by_cap} (the cap of requests in flight was reached)")
