"""`trinity support-bundle`: one archive with what a bug report needs, secrets redacted. Reads only."""

from __future__ import annotations

import io
import os
import platform
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from backend.commands.output import narrate, print_json
from backend.commands.place import Place, common
from backend.commands.redaction import known_secrets, redact
from backend.config.settings import NAMES
from backend.contract.errors import TrinityError, UsageError
from backend.daemon_start import daemon_answers
from backend.version import VERSION

_TAIL_BYTES = 256 * 1024


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Archive to write (.tar.gz).")
@common()
def support_bundle(place: Place, out: Path | None) -> None:
    """Collect versions, configuration, status, events, actions and log tails into one archive."""
    target = out or Path(f"trinity-support-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz")
    names: list[str] = []
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            secrets = known_secrets(place.paths)
            for name, text in _parts(place):
                raw = redact(text, secrets).encode()
                info = tarfile.TarInfo(f"trinity-support/{name}")
                info.size, info.mtime = len(raw), int(time.time())
                archive.addfile(info, io.BytesIO(raw))
                names.append(name)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.", "Choose a path with --out.") from None
    if place.json:
        print_json({"path": str(target), "files": names})
    else:
        click.echo(str(target))
        narrate("Redacted; look through it before you share it.")


def _parts(place: Place) -> Iterator[tuple[str, str]]:
    paths = place.paths
    facts = {"trinity": VERSION, "python": sys.version, "platform": platform.platform(), "state": str(paths.state_dir)}
    settings = {name: os.environ[name] for name in NAMES if name in os.environ}
    yield "versions.json", msgspec.json.encode(facts).decode()
    yield "environment.json", msgspec.json.encode(settings).decode()
    for name, path in (("wanted.json", paths.wanted_file), ("haproxy.cfg", paths.edge_dir / "haproxy.cfg")):
        if path.is_file():
            yield name, path.read_text(errors="replace")
    if daemon_answers(place.daemon):
        for name, call in (
            ("snapshot.json", lambda c: c.snapshot()),
            ("events.json", lambda c: c.rows("events", limit=2000)),
            ("actions.json", lambda c: c.rows("actions", limit=500)),
        ):
            try:
                yield name, msgspec.json.encode(place.run(call, any_version=True)).decode()
            except TrinityError as error:
                yield name, str(error)
    if paths.logs_dir.is_dir():
        for file in sorted(paths.logs_dir.rglob("*.log")):
            yield f"logs/{file.relative_to(paths.logs_dir)}", _tail(file)


def _tail(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read(_TAIL_BYTES).decode(errors="replace")
