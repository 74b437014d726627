"""A chart's rendered documents: from a file, or by the helm on PATH. Interprets no template itself."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

from backend.config.fleet_file import read_text
from backend.contract.errors import FileError, UsageError
from backend.deploy import chart
from backend.deploy.places import write
from backend.deploy.values import Values

_TIMEOUT_S: Final = 60

Document = dict[str, Any]


def read_manifest(path: Path) -> list[Document]:
    """The documents of a file as `helm template` or `helm get manifest` print them. Raises FileError."""
    return _documents(read_text(path), str(path))


def render_manifest(values: Values, *, release: str, namespace: str) -> list[Document]:
    """The chart with these values, rendered by helm. Raises UsageError where there is none, FileError for its words."""
    helm = shutil.which("helm")
    if helm is None:
        raise UsageError(
            "There is no helm on PATH to render the chart with.",
            "Install it, or give its output: helm get manifest RELEASE > FILE, then --manifest FILE.",
        )
    with tempfile.TemporaryDirectory(prefix="trinity-chart-") as folder:
        write(Path(folder), chart.render(values))
        argv = [helm, "template", release, f"{folder}/trinity", "--namespace", namespace]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise FileError("the chart", " ".join(done.stderr.split())[-300:], "Correct the values.")
    return _documents(done.stdout, "helm template")


def _documents(text: str, source: str) -> list[Document]:
    try:
        found = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise FileError(source, f"not valid YAML: {' '.join(str(error).split())}.", "Render it again.") from None
    for document in found:
        named = isinstance(document, dict) and isinstance(document.get("metadata"), dict)
        if not named or not {"apiVersion", "kind"} <= set(document) or not document["metadata"].get("name"):
            raise FileError(source, "a document is no Kubernetes object.", "Give what `helm template` printed.")
    if not found:
        raise FileError(source, "no documents.", "Give what `helm template` printed.")
    return found
