"""From trinity.yaml and the settings to a fleet's full description: every default filled in, every clamp named.

Owns the built-in workloads, `llm` and `embedding`. Looks at the machine (cores, memory, the model file), starts
nothing.
"""

from __future__ import annotations

import hashlib
import sys

import msgspec

from backend.config.checks import (
    check_fleet,
    check_port_clash,
    check_routes,
    check_workload,
    settings_of,
    workload_directory,
)
from backend.config.fleet_file import DEFAULT, FleetFile, ProbeFile, ProbesFile, WorkloadFile
from backend.config.place import Place
from backend.config.platform_checks import is_described
from backend.config.settings import Settings
from backend.contract.errors import FileError
from backend.contract.fleet import ProbeSpec, ProbesSpec, WorkloadSpec
from backend.serving.embedding import model as embedding
from backend.serving.models import resolve_model
from backend.serving.sizing import read_machine, size_for_machine

LLM_ROUTES = ("/v1/completions", "/v1/chat/completions", "/v1/models", "/tokenize", "/detokenize", "/apply-template")
DEFAULT_LLM_REPLICAS = 2
EMBEDDING_ROUTES = ("/v1/embeddings", "/embed")
DEFAULT_EMBEDDING_REPLICAS = 3
EMBEDDING_SLOTS = 8
EMBEDDING_MEMORY_LIMIT = 2 * 2**30


class FleetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet ready to be run. `notes` are sentences about what was clamped or chosen."""

    name: str
    listen: str
    file: FleetFile
    settings: Settings
    workloads: tuple[WorkloadSpec, ...]
    replica_memory_bytes: dict[str, int]
    """What one replica of a workload is expected to need, where that is known."""
    notes: tuple[str, ...] = ()
    text: str = ""
    """The file's text; empty for the built-in default."""
    source: str = ""


def resolve(file: FleetFile, source: str = "the built-in default", text: str = "") -> FleetConfig:
    """Everything filled in; `text` is what the file was read from. Raises FileError or UsageError."""
    if file.driver != "local" and file.workloads == DEFAULT.workloads:
        file = msgspec.structs.replace(file, workloads={})  # the built-in ones are processes of this machine
    place = Place(source, text)
    settings = settings_of(file, place)
    check_fleet(file, settings, place)
    check_port_clash(settings, file)
    notes: list[str] = []
    memory: dict[str, int] = {}
    specs: list[WorkloadSpec] = []
    for name, workload in file.workloads.items():
        check_workload(name, workload, place, file.driver)
        if is_described(workload, file.driver):
            spec = _described(name, workload)
        elif workload.builtin == "llm":
            spec, per_replica, clamps = _llm(name, workload, settings, place)
            memory[name] = per_replica
            notes += [f"{name}: {clamp}" for clamp in clamps]
        elif workload.builtin == "embedding":
            spec = _embedding(name, workload)
            memory[name] = embedding.EXPECTED_BYTES
        else:
            spec = _command(name, workload, place)
            if spec.memory_limit_bytes is not None:
                memory[name] = spec.memory_limit_bytes
        specs.append(_with_revision(spec))
    check_routes(specs, place)
    if file.edge.snippet is not None:
        edge = msgspec.structs.replace(file.edge, snippet=place.anchored(file.edge.snippet))
        file = msgspec.structs.replace(file, edge=edge)
    return FleetConfig(
        name=file.fleet,
        listen=file.listen,
        file=file,
        settings=settings,
        workloads=tuple(specs),
        replica_memory_bytes=memory,
        notes=tuple(notes),
        text=text,
        source=source if text else "",
    )


def _llm(
    name: str, workload: WorkloadFile, settings: Settings, place: Place
) -> tuple[WorkloadSpec, int, tuple[str, ...]]:
    try:
        model = resolve_model(place.anchored(workload.model) if workload.model else settings.model_path or None)
    except FileError as error:
        if not workload.model:
            raise
        words = "Write the path of a whole GGUF file, or leave `model` away."
        raise place.fail(f"workload `{name}`: {error.message}", words, "workloads", name, "model") from None
    wanted = workload.replicas if workload.replicas is not None else DEFAULT_LLM_REPLICAS
    machine = read_machine()
    sizing = size_for_machine(
        workload.slots or settings.max_batch_size,
        settings.num_threads,
        settings.max_sequence_length,
        replicas=max(DEFAULT_LLM_REPLICAS, wanted),
        cpu_count=machine.cpu_count,
        memory_bytes=machine.memory_bytes,
        model_bytes=model.info.size_bytes,
        kv_bytes_per_token=model.info.kv_bytes_per_token,
        trained_context=model.info.context_length,
    )
    env = {
        "MODEL_PATH": "" if model.source == "bundled" else model.path,  # a replica knows the bundled one by itself
        "MODEL_ALIAS": model.alias,
        "SLOTS": str(sizing.slots),
        "THREADS": str(sizing.threads),
        "CONTEXT": str(sizing.context_per_slot),
        "STOP_GRACE": _replica_grace(workload),
    }
    spec = WorkloadSpec(
        name=name,
        command=(_python(workload), "-P", "-m", "backend.serving.llm"),
        env=env | workload.env,
        cwd=workload.cwd,
        replicas=wanted,
        slots=sizing.slots,
        routes=workload.routes or LLM_ROUTES,
        health_port=True,
        probes=_probes(workload.probes) if workload.probes else _own_health(),
        engine="llamacpp",
        model_alias=model.alias,
        memory_limit_bytes=workload.resources.memory,
        nice=workload.resources.nice,
        stop_grace_s=workload.stop_grace,
        drain_deadline_s=workload.drain_deadline,
        request_deadline_s=workload.request_deadline,
        max_replicas=workload.max_replicas,
        image=workload.image or "",
    )
    return spec, sizing.memory_per_replica_bytes, sizing.clamps


def _embedding(name: str, workload: WorkloadFile) -> WorkloadSpec:
    if workload.image is None:
        embedding.bundled_files()  # missing ones are said now, not by each replica
    return WorkloadSpec(
        name=name,
        command=(_python(workload), "-P", "-m", "backend.serving.embedding"),
        env={"STOP_GRACE": _replica_grace(workload)} | workload.env,
        cwd=workload.cwd,
        replicas=DEFAULT_EMBEDDING_REPLICAS if workload.replicas is None else workload.replicas,
        slots=workload.slots or EMBEDDING_SLOTS,
        routes=workload.routes or EMBEDDING_ROUTES,
        health_port=True,
        probes=_probes(workload.probes) if workload.probes else _own_health(),
        engine="embedding",
        model_alias=embedding.ALIAS,
        memory_limit_bytes=workload.resources.memory or EMBEDDING_MEMORY_LIMIT,
        nice=workload.resources.nice,
        stop_grace_s=workload.stop_grace,
        drain_deadline_s=workload.drain_deadline,
        request_deadline_s=workload.request_deadline,
        max_replicas=workload.max_replicas,
        image=workload.image or "",
    )


def _described(name: str, workload: WorkloadFile) -> WorkloadSpec:
    """The platform's own: how our edge reaches it, where it has routes at all."""
    return WorkloadSpec(
        name=name,
        command=(),
        of=workload.of or name,
        slots=workload.slots or 32,
        routes=workload.routes or (),
        port=workload.port if isinstance(workload.port, int) else 0,
        engine=workload.engine or "none",
        drain_deadline_s=workload.drain_deadline,
        request_deadline_s=workload.request_deadline,
        max_replicas=workload.max_replicas,
    )


def _python(workload: WorkloadFile) -> str:
    """The interpreter of a built-in program: ours, or the image's."""
    return sys.executable if workload.image is None else "python3"


def _replica_grace(workload: WorkloadFile) -> str:
    """For a built-in program: it ends by itself before the driver's SIGKILL."""
    return str(max(0.5, workload.stop_grace - 1.0))


def _own_health() -> ProbesSpec:
    """The probes of a built-in program: its own health endpoints."""
    return ProbesSpec(
        **{
            which: ProbeSpec(
                path=f"/health/{path}", port="health", period_s=period, timeout_s=1.0, failure_threshold=count
            )
            for which, path, period, count in (
                ("startup", "startup", 0.05, 2400),
                ("readiness", "ready", 0.25, 2),
                ("liveness", "live", 1.0, 5),
            )
        }
    )


def _command(name: str, workload: WorkloadFile, place: Place) -> WorkloadSpec:
    default = ProbesSpec(
        startup=ProbeSpec(kind="tcp", period_s=0.1, failure_threshold=6000),
        readiness=ProbeSpec(kind="tcp", period_s=0.5, failure_threshold=2),
    )
    return WorkloadSpec(
        name=name,
        command=workload.command or (),
        env=workload.env,
        cwd=workload_directory(workload, place),
        replicas=1 if workload.replicas is None else workload.replicas,
        slots=workload.slots or 32,
        routes=workload.routes or (f"/{name}",),
        port=workload.port if isinstance(workload.port, int) else 0,
        health_port=workload.health_port,
        probes=_probes(workload.probes) if workload.probes else default,
        engine=workload.engine or "none",
        memory_limit_bytes=workload.resources.memory,
        nice=workload.resources.nice,
        stop_grace_s=workload.stop_grace,
        drain_deadline_s=workload.drain_deadline,
        request_deadline_s=workload.request_deadline,
        max_replicas=workload.max_replicas,
        image=workload.image or "",
    )


def _probes(probes: ProbesFile) -> ProbesSpec:
    return ProbesSpec(
        startup=_probe(probes.startup), readiness=_probe(probes.readiness), liveness=_probe(probes.liveness)
    )


def _probe(probe: ProbeFile | None) -> ProbeSpec | None:
    if probe is None:
        return None
    return ProbeSpec(
        kind="http" if probe.http else "command" if probe.command else "tcp",
        path=probe.http or "/",
        port=probe.port,
        command=probe.command or (),
        period_s=probe.period,
        timeout_s=probe.timeout,
        failure_threshold=probe.failure_threshold,
        success_threshold=probe.success_threshold,
    )


def _with_revision(spec: WorkloadSpec) -> WorkloadSpec:
    """A revision is the digest of what needs a new process; counts, routes and edge slots do not."""
    same_process = {"replicas": 0, "routes": (), "max_replicas": 0, "revision": "", "drain_deadline_s": 0.0}
    core = msgspec.to_builtins(msgspec.structs.replace(spec, **same_process, request_deadline_s=0.0))
    # What came later: a process that knows none of them keeps its revision.
    for word in ("image", "of", "kind", "role", "release"):
        if not core[word]:
            del core[word]
    digest = hashlib.sha256(msgspec.json.encode(core, order="sorted")).hexdigest()[:10]
    return msgspec.structs.replace(spec, revision=digest)
