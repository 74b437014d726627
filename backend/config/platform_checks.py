"""What a workload may say depending on where its fleet is: a process here, a container of ours, or the platform's own.

Pure. Each mistake is named with file, line and column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from backend.config.fleet_file import ProbesFile, ResourcesFile, WorkloadFile
from backend.config.place import Place
from backend.contract.errors import FileError

_Fail = Callable[..., FileError]
"""The error of one workload: message, next step, and the keys that lead to what is wrong."""
_PLATFORMS: Final = {"docker": "the engine", "kubernetes": "the cluster"}


def is_described(workload: WorkloadFile, driver: str) -> bool:
    """Whether the workload is the platform's own and only described."""
    return driver != "local" and workload.image is None


def check_place(name: str, workload: WorkloadFile, place: Place, driver: str) -> None:
    """That the workload can be in a fleet of that driver. Raises FileError."""

    def fail(message: str, next_step: str, *path: str) -> FileError:
        return place.fail(f"workload `{name}` {message}", next_step, "workloads", name, *path)

    if driver == "local":
        for key, value in (("image", workload.image), ("of", workload.of)):
            if value is not None:
                how = "Write `driver: docker` at the top of the file, or take it away."
                raise fail(f"has `{key}`, but runs as processes of this machine.", how, key)
    elif is_described(workload, driver):
        _check_described(workload, driver, fail)
    else:
        _check_image(workload, driver, fail)


def _check_image(workload: WorkloadFile, driver: str, fail: _Fail) -> None:
    """A container for each replica, kept by us."""
    image = workload.image or ""
    if driver != "docker":
        raise fail("has an `image`, but pods are the cluster's.", "Describe what is there with `of: ...`.", "image")
    if not image or any(c.isspace() for c in image):
        raise fail(f"has the image `{image}`.", "Write one as Docker does, e.g. `image: trinity-llm:1.0`.", "image")
    if workload.of is not None:
        raise fail("has both `image` and `of`.", "Keep `image` for containers of ours, `of` for others.", "of")
    if workload.builtin is not None and workload.command is not None:
        raise fail("has both `builtin` and `command`.", "Keep one of them, or neither: then the image says.", "command")
    if workload.model is not None:
        how = "Put the file into the image and name it there: `env: {MODEL_PATH: /models/a.gguf}`, with a `command`."
        raise fail("has a `model`, which a container cannot read.", how, "model")
    if workload.cwd is not None and not workload.cwd.startswith("/"):
        raise fail(f"has the directory `{workload.cwd}`.", "Write a whole path, as it is inside the image.", "cwd")
    probes = workload.probes or ProbesFile()
    for which in ("startup", "readiness", "liveness"):
        probe = getattr(probes, which)
        if probe is not None and probe.command is not None:
            message = f"has a {which} probe with a command, which would run here and not in the container."
            raise fail(message, "Ask by `http` or `tcp`.", "probes", which, "command")


def _check_described(workload: WorkloadFile, driver: str, fail: _Fail) -> None:
    """The platform's own: it keeps the counts and knows the program; we say how our edge reaches it."""
    platform = _PLATFORMS[driver]
    if workload.of == "":
        raise fail("has an empty `of`.", f"Write the name that {platform} has for it, or take it away.", "of")
    with_image = "Add `image: ...`, so that we run it, or take this away." if driver == "docker" else "Take this away."
    for key in ("builtin", "command"):
        if getattr(workload, key) is not None:
            raise fail(f"has `{key}`, but {platform} runs what is only described.", with_image, key)
    blank = WorkloadFile()
    for key in ("replicas", "model", "env", "cwd", "health_port", "probes", "stop_grace"):
        if getattr(workload, key) != getattr(blank, key):
            raise fail(f"has `{key}`, but that is for {platform} to say.", with_image, key)
    if workload.resources != ResourcesFile():
        raise fail(f"has `resources`, but that is for {platform} to say.", with_image, "resources")
