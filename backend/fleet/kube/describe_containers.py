"""A container for reading: what it runs, how it is and was, its probes, limits, environment and mounts. Pure."""

from __future__ import annotations

from backend.fleet.kube.objects import Object, mapping, number, objects, part, text, texts, when
from backend.fleet.kube.rollout_status import exit_words
from backend.fleet.masking import masked_value, masked_words

_INDENT = "  "


def container_lines(spec: Object, status: Object | None, now_ts: float) -> list[str]:
    """Its name, then indented lines. `status` is None for a template's container."""
    rows: list[tuple[str, str]] = [("Image", text(spec, "image"))]
    if status is not None:
        rows += [
            ("Image ID", text(status, "imageID")),
            ("Container ID", text(status, "containerID")),
            ("State", _state(part(status, "state"), now_ts)),
            ("Last State", _state(part(status, "lastState"), now_ts)),
            ("Ready", "yes" if part(status, "ready") is True else "no"),
            ("Restart Count", str(number(status, "restartCount"))),
        ]
    rows += [
        ("Ports", ", ".join(_port(one) for one in objects(spec, "ports"))),
        ("Command", " ".join(map(str, masked_words(texts(spec, "command"))))),
        ("Args", " ".join(map(str, masked_words(texts(spec, "args"))))),
        ("Limits", _amounts(mapping(spec, "resources", "limits"))),
        ("Requests", _amounts(mapping(spec, "resources", "requests"))),
        ("Startup", probe_words(part(spec, "startupProbe"))),
        ("Liveness", probe_words(part(spec, "livenessProbe"))),
        ("Readiness", probe_words(part(spec, "readinessProbe"))),
    ]
    lines = [f"{text(spec, 'name')}:", *(f"{_INDENT}{name + ':':<16} {value}" for name, value in rows if value)]
    lines += _listed("Environment", [_variable(one) for one in objects(spec, "env")] + _sources(spec))
    lines += _listed("Mounts", [_mount(one) for one in objects(spec, "volumeMounts")])
    return lines


def _listed(title: str, entries: list[str]) -> list[str]:
    return [f"{_INDENT}{title}:", *(f"{_INDENT * 2}{entry}" for entry in entries)] if entries else []


def _state(state: object, now_ts: float) -> str:
    from_api = mapping(state)
    if "running" in from_api:
        began = part(from_api, "running", "startedAt")
        return f"Running since {began}" if when(began) is not None else "Running"
    if "waiting" in from_api:
        reason, message = text(from_api, "waiting", "reason"), " ".join(text(from_api, "waiting", "message").split())
        return f"Waiting ({reason or 'no reason given'}){': ' + message if message else ''}"
    if "terminated" in from_api:
        ended = mapping(from_api, "terminated")
        message = " ".join(text(ended, "message").split())
        times = f", {text(ended, 'startedAt')} to {text(ended, 'finishedAt')}" if text(ended, "finishedAt") else ""
        return f"Terminated ({exit_words(ended)}){times}{': ' + message[:300] if message else ''}"
    return ""


def _port(one: Object) -> str:
    host = f" on host port {number(one, 'hostPort')}" if number(one, "hostPort") else ""
    name = f" ({text(one, 'name')})" if text(one, "name") else ""
    return f"{text(one, 'containerPort')}/{text(one, 'protocol') or 'TCP'}{name}{host}"


def _amounts(held: Object) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(held.items(), key=str))


def probe_words(probe: object) -> str:
    """`http-get :8080/health delay=0s timeout=1s period=10s #success=1 #failure=3`; empty for none."""
    if not mapping(probe):
        return ""
    if "httpGet" in mapping(probe):
        get = mapping(probe, "httpGet")
        what = (
            f"{(text(get, 'scheme') or 'http').lower()}-get {text(get, 'host')}:{text(get, 'port')}{text(get, 'path')}"
        )
    elif "tcpSocket" in mapping(probe):
        what = f"tcp-socket {text(probe, 'tcpSocket', 'host')}:{text(probe, 'tcpSocket', 'port')}"
    elif "grpc" in mapping(probe):
        what = f"grpc :{text(probe, 'grpc', 'port')} {text(probe, 'grpc', 'service')}".rstrip()
    else:
        what = f"exec [{' '.join(map(str, masked_words(texts(probe, 'exec', 'command'))))}]"
    delay = number(probe, "initialDelaySeconds")
    timeout, period = number(probe, "timeoutSeconds", default=1), number(probe, "periodSeconds", default=10)
    good, bad = number(probe, "successThreshold", default=1), number(probe, "failureThreshold", default=3)
    return f"{what} delay={delay}s timeout={timeout}s period={period}s #success={good} #failure={bad}"


def _variable(one: Object) -> str:
    name, source = text(one, "name"), mapping(one, "valueFrom")
    for kind, word in (("secretKeyRef", "secret"), ("configMapKeyRef", "config map")):
        if kind in source:
            return f"{name}: <{text(source, kind, 'key')} of {word} {text(source, kind, 'name')}>"
    if "fieldRef" in source:
        return f"{name}: <{text(source, 'fieldRef', 'fieldPath')}>"
    if "resourceFieldRef" in source:
        return f"{name}: <{text(source, 'resourceFieldRef', 'resource')}>"
    return f"{name}: {masked_value(name, text(one, 'value'))}"


def _sources(spec: Object) -> list[str]:
    found = []
    for one in objects(spec, "envFrom"):
        for kind, word in (("secretRef", "secret"), ("configMapRef", "config map")):
            if kind in one:
                found.append(f"all of {word} {text(one, kind, 'name')}")
    return found


def _mount(one: Object) -> str:
    only = " (read-only)" if part(one, "readOnly") is True else ""
    below = f", path {text(one, 'subPath')}" if text(one, "subPath") else ""
    return f"{text(one, 'mountPath')} from {text(one, 'name')}{below}{only}"
