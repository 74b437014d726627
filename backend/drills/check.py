"""Checks a scenario's meaning: every name refers to something, every expression compiles. Pure.

Gives a compiled scenario that planner, runner and verdict share. Mistakes are FileErrors with line and column.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec
import yaml

from backend.contract.errors import FileError
from backend.drills import scenario as files
from backend.drills.catalogue import FAULTS, KEYS
from backend.drills.expression import Expr, ExpressionError
from backend.drills.expression_types import RATE, Kind, Place, Scope, compile_expression, mentions

Path = tuple[str | int, ...]
_EXAMPLE = "Write e.g. `failed(chat, last=5s) > 10`, or a rate like `5/s`."


class Expectation(msgspec.Struct, frozen=True):
    """One `expect` line of a phase, compiled."""

    text: str
    tree: Expr


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario whose names and expressions were checked."""

    scenario: files.Scenario
    source: str
    text: str
    digest: str
    confidence: float | None = None
    """The success ratio that samples were cut to prove, by `--confidence`; see `overrides`."""
    max_generator_lag_s: float | None = None
    """`--max-generator-lag`; null where the file's own limit holds."""
    rates: dict[str, Expr]
    hypotheses: dict[str, Expr]
    aborts: tuple[Expr, ...]
    whens: dict[str, Expr]
    untils: dict[str, Expr]
    expects: dict[str, tuple[Expectation, ...]]

    def phase(self, name: str) -> files.PhaseSpec:
        return next(phase for phase in self.scenario.phases if phase.name == name)


def load_scenario(text: str, source: str) -> Compiled:
    """Read and check a scenario. Raises FileError with line and column for the first mistake."""
    scenario = files.read(text, source)
    checker = _Checker(scenario, text, source)
    checker.names()
    checker.targets()
    checker.phases()
    return checker.compiled()


class _Checker:
    def __init__(self, scenario: files.Scenario, text: str, source: str) -> None:
        self._scenario, self._text, self._source = scenario, text, source
        self._root: Any = None

    def fail(self, path: Path, message: str, next_step: str = "", offset: int = 0) -> NoReturn:
        line, column = self._locate(path, offset)
        raise FileError(self._source, message, next_step, line, column)

    def _locate(self, path: Path, offset: int) -> tuple[int, int]:
        """Line and column (from 1) of the node at `path`, or of the deepest part of it that exists."""
        depth = next(d for d in range(len(path), -1, -1) if self._node(path[:d]) is not None)
        place = self._node(path[:depth])
        column = place.start_mark.column + 1
        if offset and depth == len(path) and isinstance(place, yaml.ScalarNode) and place.style not in ("|", ">"):
            column += offset - 1 + (1 if place.style else 0)
        return place.start_mark.line + 1, column

    def names(self) -> None:
        """Names that expressions can spell, and no two things of one name."""
        scenario = self._scenario
        seen: dict[str, str] = {}
        named: list[tuple[str, str, Path]] = [("drill", scenario.name, ("name",))]
        named += [("target", name, ("targets", name)) for name in scenario.targets]
        named += [("load", name, ("load", name)) for name in scenario.load]
        for p, phase in enumerate(scenario.phases):
            named.append(("phase", phase.name, ("phases", p, "name")))
            named += [("fault", j.id, ("phases", p, "inject", i, "id")) for i, j in enumerate(phase.inject)]
        named += [("hypothesis", h.id, ("hypothesis", i, "id")) for i, h in enumerate(scenario.hypothesis)]
        for what, name, path in named:
            if not _is_name(name):
                self.fail(path, f"`{name}` is not a usable name.", "Use letters, digits, `_` and inner `-`.")
            space = "argument" if what in ("target", "load") else what
            if seen.get(f"{space}:{name}"):
                self.fail(path, f"two of the name `{name}` ({seen[f'{space}:{name}']}, {what}).", "Rename one.")
            seen[f"{space}:{name}"] = what

    def targets(self) -> None:
        for name, target in self._scenario.targets.items():
            self._target(name, target, ("targets", name))
        for name, load in self._scenario.load.items():
            self._known(("load", name, "target") if load.target != "pool" else ("load", name), "pool", load.target)
            mix = load.request
            lengths = 1 <= mix.prompt_tokens_min <= mix.prompt_tokens_max
            if mix.max_tokens < 1 or not lengths or not 0.0 <= mix.stream_share <= 1.0 or mix.deadline <= 0:
                message = "max_tokens, prompt lengths, stream_share (0..1) or deadline out of range."
                self.fail(("load", name, "request"), message, "Give each a value that can be.")
            self._answers(name, load)
        if not self._scenario.load:
            self.fail(("load",), "no load: nothing could be proven.", "Declare at least one load.")

    def _answers(self, name: str, load: files.Load) -> None:
        path: Path = ("load", name)
        if not 0 <= load.request.retries <= 10:
            self.fail((*path, "request", "retries"), "retries must be 0 to 10.", "For example retries: 2.")
        if load.check.golden is not None and load.kind != "embeddings":
            self.fail((*path, "check", "golden"), f"{load.kind} has no vectors to compare.", "Remove `check`.")
        if not 0.0 < load.check.cosine_min <= 1.0:
            self.fail((*path, "check", "cosine_min"), "cosine_min must be above 0 and at most 1.", "Write e.g. 0.9999.")

    def _target(self, name: str, target: files.Target, path: Path) -> None:
        if target.is_pool:
            if (target.workload is None) == (target.role is None):
                self.fail(path, f"target `{name}` needs exactly one of workload, role or from.", "Write one.")
            if target.index is not None or target.pick is not None:
                self.fail(path, f"target `{name}` is a pool: index and pick belong to a replica.", "Add `from`.")
            if target.replicas is not None and target.replicas < 1:
                self.fail((*path, "replicas"), "replicas must be at least 1.", "Write 1 or more.")
            return
        if target.workload or target.role or target.replicas is not None:
            self.fail(path, f"target `{name}` takes `from` and index or pick, nothing else.", "Remove it.")
        if target.index is not None and (target.pick is not None or target.index < 0):
            self.fail(path, f"target `{name}` needs one of index (from 0) or pick.", "Write one.")
        self._known((*path, "from"), "pool", target.source or "")

    def _known(self, path: Path, what: str, name: str) -> None:
        known = {
            "pool": [n for n, t in self._scenario.targets.items() if t.is_pool],
            "replica": [n for n, t in self._scenario.targets.items() if not t.is_pool],
            "target": list(self._scenario.targets),
            "load": list(self._scenario.load),
        }[what]
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean `{close[0]}`? " if close else ""
            self.fail(path, f"unknown {what} `{name}`.", f"{hint}Known: {', '.join(known) or 'none'}.")

    def phases(self) -> None:
        scenario, live = self._scenario, set[str]()
        if not scenario.phases:
            self.fail(("phases",), "a drill needs phases.", "Begin with a baseline.")
        for p, phase in enumerate(scenario.phases):
            path: Path = ("phases", p)
            if phase.gate and (p or phase.inject):
                self.fail((*path, "gate"), "only the first phase can be the gate, and it injects nothing.", "Move it.")
            for i, healed in enumerate(phase.heal):
                if healed not in live:
                    known = ", ".join(sorted(live)) or "none"
                    self.fail((*path, "heal", i), f"no fault `{healed}` is active here.", f"Active: {known}.")
                live.discard(healed)
            for i, injection in enumerate(phase.inject):
                self._injection(injection, (*path, "inject", i))
                live.add(injection.id)
            for load, wanted in phase.hold.min_requests.items():
                self._known((*path, "hold", "min_requests", load), "load", load)
                if wanted < 0:
                    self.fail((*path, "hold", "min_requests", load), "a sample cannot be negative.", "Write 0 or more.")
        held = sum(phase.hold.duration for phase in scenario.phases)
        if held > scenario.safety.max_runtime:
            self.fail(("safety", "max_runtime"), f"the phases alone take {held:g} s.", "Raise max_runtime.")
        self._lifetimes()
        lease = scenario.safety.lease
        if lease.heartbeat < 0.05 or lease.expires < 2 * lease.heartbeat:
            self.fail(("safety", "lease"), "the lease must outlast two heartbeats of at least 50 ms.", "Lengthen it.")

    def _injection(self, injection: files.Injection, path: Path) -> None:
        traits = FAULTS[injection.fault]
        target = self._scenario.targets.get(injection.target)
        if target is None or traits.on == ("pool" if not target.is_pool else "replica"):
            self._known((*path, "target"), "target" if traits.on == "replica-or-pool" else traits.on, injection.target)
        given = self._keys(path)
        allowed = {*traits.needs, *traits.takes}
        for key in sorted(given & KEYS - allowed):
            takes = f"It takes {', '.join(sorted(allowed))}." if allowed else "Remove it."
            self.fail((*path, key), f"{injection.fault} takes no `{key}`.", takes)
        for key in traits.needs:
            if key not in given:
                self.fail(path, f"{injection.fault} needs `{key}`.", f"Add {key}: {_EXAMPLES[key]}.")
        for key, (fits, wanted) in _RANGES.items():
            value = getattr(injection, key)
            if value is not None and not fits(value):
                self.fail((*path, key), f"{key} must be {wanted}.", f"For example {key}: {_EXAMPLES[key]}.")
        proofs = _proofs(injection)
        for i, step in enumerate(injection.verify):
            if step not in proofs:
                steps = ", ".join(proofs)
                self.fail((*path, "verify", i), f"`{step}` proves nothing about {_of(injection)}.", f"Use {steps}.")
        if not injection.verify:
            self.fail(path, f"fault `{injection.id}` has no verify step.", f"Add one of {', '.join(proofs)}.")
        if set(injection.verify) == {"api_still_200"}:
            message = "`api_still_200` alone proves no fault: it holds without one too."
            self.fail((*path, "verify"), message, "Add thread_stopped or no_progress.")

    def _keys(self, path: Path) -> set[str]:
        """The keys the file gives at `path`, defaults spelt out included."""
        node = self._node(path)
        return {str(key.value) for key, _ in node.value} if isinstance(node, yaml.MappingNode) else set()

    def _node(self, path: Path) -> Any:
        if self._root is None:
            self._root = _compose(self._text)
        node = self._root
        for step in path:
            if isinstance(node, yaml.MappingNode):
                node = next((v for k, v in node.value if k.value == str(step)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            else:
                return None
        return node

    def _lifetimes(self) -> None:
        """A fault with a time limit at its holder must not be over before the phases it is for are."""
        limit = self._scenario.safety.fault_ttl
        for p, phase in enumerate(self._scenario.phases):
            for i, injection in enumerate(phase.inject):
                if not (FAULTS[injection.fault].held_by or injection.fault in _SPOILS_STARTS):
                    continue
                held = 0.0
                for later in self._scenario.phases[p:]:
                    if injection.id in later.heal:
                        break
                    held += later.hold.duration
                if held >= limit:
                    message = f"fault `{injection.id}` lasts {held:g} s and more, fault_ttl ends it after {limit:g} s."
                    self.fail(("phases", p, "inject", i), message, "Raise safety.fault_ttl, or heal it earlier.")

    def compiled(self) -> Compiled:
        scenario = self._scenario
        return Compiled(
            scenario=scenario,
            source=self._source,
            text=self._text,
            digest=files.scenario_digest(scenario),
            rates={
                name: self._rate(load.arrival.rate, ("load", name, "arrival", "rate"))
                for name, load in scenario.load.items()
            },
            hypotheses={
                h.id: self._compile(h.expr, ("hypothesis", i, "expr"), "verdict")
                for i, h in enumerate(scenario.hypothesis)
            },
            aborts=tuple(
                self._compile(rule.expr, ("abort", i, "expr"), "live") for i, rule in enumerate(scenario.abort)
            ),
            whens={
                j.id: self._compile(j.when, ("phases", p, "inject", i, "when"), "live")
                for p, phase in enumerate(scenario.phases)
                for i, j in enumerate(phase.inject)
                if j.when is not None
            },
            untils={
                phase.name: self._compile(phase.until.expr, ("phases", p, "until", "expr"), "live")
                for p, phase in enumerate(scenario.phases)
                if phase.until is not None
            },
            expects={
                phase.name: tuple(
                    Expectation(text, self._compile(text, ("phases", p, "expect", i), "verdict", p))
                    for i, text in enumerate(phase.expect)
                )
                for p, phase in enumerate(scenario.phases)
            },
        )

    def _rate(self, text: str, path: Path) -> Expr:
        return self._compile(text, path, "rate", wanted=RATE)

    def _compile(self, text: str, path: Path, place: Place, upto: int | None = None, *, wanted: Kind = "bool") -> Expr:
        scenario = self._scenario
        reachable = scenario.phases if upto is None else scenario.phases[: upto + 1]
        faults = (j.id for phase in reachable for j in phase.inject)
        scope = Scope(
            loads=frozenset(scenario.load),
            pools=frozenset(n for n, t in scenario.targets.items() if t.is_pool),
            replicas=frozenset(n for n, t in scenario.targets.items() if not t.is_pool),
            faults=frozenset(faults),
            phases=frozenset(phase.name for phase in reachable),
            place=place,
        )
        try:
            return compile_expression(text, scope, wanted)
        except ExpressionError as error:
            self.fail(path, f"in `{text[:120]}`: {error.message}", error.next_step or _EXAMPLE, error.column)


_SPOILS_STARTS = frozenset[files.FaultName]({"process.slow-start", "process.crash-loop"})
_ENGINE_PROOFS = ("thread_stopped", "api_still_200", "no_progress", "holder_active")
_EXAMPLES: Mapping[str, str] = {
    "code": "3",
    "delay": "5s",
    "latency": "200ms",
    "jitter": "50ms",
    "rate": "64KiB",
    "after": "512B",
    "status": "503",
    "direction": "to-replica",
    "share": "0.5",
    "cores": "1.0",
    "size": "256MiB",
    "replicas": "2",
    "within": "20s",
}
_RANGES: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "code": (lambda v: 0 <= v <= 255, "0 to 255"),
    "delay": (lambda v: v > 0, "above 0"),
    "latency": (lambda v: v > 0, "above 0"),
    "jitter": (lambda v: v >= 0, "0 or more"),
    "rate": (lambda v: v > 0, "above 0 bytes/s"),
    "after": (lambda v: v >= 0, "0 bytes or more"),
    "status": (lambda v: 100 <= v <= 599, "an HTTP status, 100 to 599"),
    "share": (lambda v: 0.0 < v <= 1.0, "above 0 and at most 1"),
    "cores": (lambda v: 0.0 < v <= 1024, "above 0"),
    "size": (lambda v: v > 0, "above 0 bytes"),
    "replicas": (lambda v: v >= 0, "0 or more"),
    "within": (lambda v: v > 0, "above 0"),
}


def _proofs(injection: files.Injection) -> tuple[str, ...]:
    """The steps that can prove this very fault."""
    proofs = FAULTS[injection.fault].proofs
    if injection.fault != "process.stop":
        return proofs
    engine = injection.scope == "engine"
    return tuple(step for step in proofs if step == "holder_active" or (step in _ENGINE_PROOFS) == engine)


def _of(injection: files.Injection) -> str:
    scope = " (scope: engine)" if injection.scope == "engine" else ""
    return f"{injection.fault}{scope}"


def needs_capacity(compiled: Compiled) -> bool:
    """Whether a rate depends on calibration."""
    return any(mentions(tree, "capacity") for tree in compiled.rates.values())


def _is_name(text: str) -> bool:
    parts = text.split("-")
    words = all(part and all(c == "_" or (c.isascii() and c.isalnum()) for c in part) for part in parts)
    return words and not text[0].isdigit() and len(text) <= 64 and text not in ("and", "or", "not")


def _compose(text: str) -> Any:
    # The reader that accepted the text: libyaml and PyYAML's own differ in what they take.
    return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
