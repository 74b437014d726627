"""`trinity deploy diff`: what runs otherwise than the files say, as pure comparisons of data.

Owns what counts as a difference. What runs is read elsewhere (running_compose.py, running_cluster.py); nothing here
reaches anything.

For the cluster: everything that a rendered document sets must be so in the cluster; what the cluster adds by itself
(defaults, status, addresses) is no difference. Quantities are compared as amounts: `500m` is `0.5`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from backend.deploy.findings import Difference

_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_UNITS: Final = {None: Decimal(1), "m": Decimal("0.001")} | {
    unit: Decimal(base) ** (power + 1)
    for base, units in ((1000, ("k", "M", "G", "T", "P")), (1024, ("Ki", "Mi", "Gi", "Ti", "Pi")))
    for power, unit in enumerate(units)
}
_KEYS: Final = ("name", "containerPort", "port", "mountPath", "key", "host", "path", "topologyKey", "type")
"""What entries of a list are known by, whatever their order."""


class RunningService(msgspec.Struct, frozen=True, kw_only=True):
    """The containers of one compose service, as they run."""

    images: tuple[str, ...]
    """By container."""
    environment: tuple[Mapping[str, str], ...]
    ports: tuple[frozenset[str], ...]
    """By container: `address:outside:inside`."""


def compare_project(wanted: Mapping[str, Any], running: Mapping[str, RunningService]) -> list[Difference]:
    """A compose file's services against the containers of its project, in the order of their names.

    Services of a profile are compared only where they run: nobody may have asked for them.
    """
    found: list[Difference] = []
    for name in sorted({*wanted, *running}):
        subject = f"service {name}"
        if name not in running:
            if not wanted[name].get("profiles") and wanted[name].get("scale", 1):
                found.append(Difference(subject=subject, field="", wanted="runs", running=""))
        elif name not in wanted:
            found.append(Difference(subject=subject, field="", wanted="", running="runs"))
        else:
            found += _service(subject, wanted[name], running[name])
    return found


def _service(subject: str, wanted: Mapping[str, Any], running: RunningService) -> Iterator[Difference]:
    replicas, count = str(wanted.get("scale", 1)), str(len(running.images))
    if replicas != count:
        yield Difference(subject=subject, field="replicas", wanted=replicas, running=count)
    for image in sorted({image for image in running.images if image != wanted.get("image")}):
        yield Difference(subject=subject, field="image", wanted=wanted.get("image", ""), running=image)
    for name, value in sorted((wanted.get("environment") or {}).items()):
        for other in sorted({env.get(name, "") for env in running.environment} - {str(value)}):
            yield Difference(subject=subject, field=f"environment.{name}", wanted=str(value), running=other)
    ports = frozenset(wanted.get("ports", ()))
    for others in sorted({each for each in running.ports if each != ports}, key=sorted):
        yield Difference(
            subject=subject, field="ports", wanted=", ".join(sorted(ports)), running=", ".join(sorted(others))
        )


def compare_documents(
    wanted: Sequence[Mapping[str, Any]], running: Mapping[tuple[str, str], Mapping[str, Any] | None]
) -> list[Difference]:
    """Rendered documents against what the cluster has under (kind, name): null where it has none."""
    found: list[Difference] = []
    for document in wanted:
        kind, name = document["kind"], document["metadata"]["name"]
        subject, live = f"{kind} {name}", running.get((kind, name))
        if live is None:
            found.append(Difference(subject=subject, field="", wanted="exists", running=""))
        elif kind == "Secret":
            # Its values are nobody's to see: only which keys it has.
            missing = sorted(set(document.get("data") or {}) - set(live.get("data") or {}))
            found += [Difference(subject=subject, field=f"data.{key}", wanted="set", running="") for key in missing]
        else:
            parts = {key: value for key, value in document.items() if key not in ("apiVersion", "kind", "metadata")}
            labels = {"metadata": {"labels": document["metadata"].get("labels") or {}}}
            found += [
                Difference(subject=subject, field=field, wanted=_shown(want), running=_shown(have))
                for field, want, have in _differences({**labels, **parts}, live, "")
            ]
    return found


def _differences(wanted: Any, running: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """(field, wanted, running) where `running` is not what `wanted` sets."""
    if isinstance(wanted, Mapping) and isinstance(running, Mapping):
        for key, value in wanted.items():
            yield from _differences(value, running.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(wanted, list) and isinstance(running, list):
        yield from _lists(wanted, running, path)
    elif not _same(wanted, running):
        yield path, wanted, running


def _lists(wanted: list[Any], running: list[Any], path: str) -> Iterator[tuple[str, Any, Any]]:
    key = _key_of(wanted)
    if key is None:
        pairs = [(str(n), want, running[n] if n < len(running) else None) for n, want in enumerate(wanted)]
        more = [(str(n), None, running[n]) for n in range(len(wanted), len(running))]
    else:
        known = {item.get(key): item for item in running if isinstance(item, Mapping)}
        pairs = [(str(item[key]), item, known.get(item[key])) for item in wanted]
        names = {item[key] for item in wanted}
        more = [(str(name), None, item) for name, item in known.items() if name not in names]
    for name, want, have in pairs:
        yield from _differences(want, have, f"{path}[{name}]")
    for name, want, have in more:
        if not _added_by_the_cluster(path, have):
            yield f"{path}[{name}]", want, have


def _key_of(items: list[Any]) -> str | None:
    """What each entry has and no two share."""
    for key in _KEYS:
        values = [item.get(key) for item in items if isinstance(item, Mapping)]
        if (
            len(values) == len(items) > 0
            and None not in values
            and len({str(value) for value in values}) == len(values)
        ):
            return key
    return None


def _added_by_the_cluster(path: str, item: Any) -> bool:
    """Volumes of tokens, and what admission brings into every pod."""
    name = str(item.get("name", "")) if isinstance(item, Mapping) else ""
    return name.startswith("kube-api-access-") and path.rpartition(".")[2] in ("volumes", "volumeMounts")


def _same(wanted: Any, running: Any) -> bool:
    if wanted == running:
        return True
    if wanted in (None, "", {}, [], False, 0) and running is None:
        return True  # the API leaves out what is empty
    if isinstance(wanted, str | int | float) and isinstance(running, str | int | float):
        amounts = _amount(wanted), _amount(running)
        return amounts[0] is not None and amounts[0] == amounts[1]
    return False


def _amount(value: str | float) -> Decimal | None:
    found = _QUANTITY.fullmatch(str(value))
    return Decimal(found[1]) * _UNITS[found[2]] if found and not isinstance(value, bool) else None


def _shown(value: Any) -> str:
    """On one line, cut where it is long."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:97]}..."
