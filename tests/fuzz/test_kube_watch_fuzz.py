"""Whatever a server sends as lines of a watch: the reflector keeps objects or says what is wrong, always."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from backend.config.fleet_file import KubernetesFile
from backend.fleet.kube import kinds
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.reflector import Reflector
from backend.fleet.kube.watch_lines import Garbage
from tests.fakes.clock import FakeClock

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.sampled_from("abc"), "resourceVersion": st.sampled_from(["", "1", "2"])}
        )
    },
    optional={"spec": JSON, "status": JSON, "code": st.integers(400, 599)},
)
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "ODD"]), "object": OBJECTS | JSON}
)
LINES = st.lists(EVENTS.map(msgspec.json.encode) | st.binary(min_size=1, max_size=30), max_size=6)


@given(LINES)
def test_any_lines_are_objects_or_a_named_failure(lines: list[bytes]) -> None:
    told: list[Any] = []
    clock = FakeClock()
    reflector = Reflector(kinds.PODS, Access(KubernetesFile(), clock), clock, told.extend)
    with contextlib.suppress(Garbage, ApiError):
        reflector._read(lines)
    shown: dict[str, Any] = {}
    for old, new in told:
        name = (new or old).metadata.name
        assert shown.get(name) is old, "what is told as former is what was told before"
        if new is None:
            del shown[name]
        else:
            shown[name] = new
    assert shown == reflector.objects
