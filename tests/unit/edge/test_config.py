"""haproxy.cfg as text: secrets, slots, routes, and what needs a reload."""

from __future__ import annotations

import msgspec
import pytest

from backend.contract.errors import UsageError
from backend.contract.fleet import WorkloadSpec
from backend.contract.words import SlotState
from backend.edge import config, slots
from backend.edge.config import EdgeFiles, render, structure_digest
from backend.edge.settings import EdgeSettings, is_loopback, require_safe
from backend.edge.slots import SlotTable

FILES = EdgeFiles(admin_socket="/r/a", slots_map="/s/slots.map", switches_map="/s/sw.map", inner_socket_prefix="/r/e-")
SETTINGS = EdgeSettings(stats_password="page-word", api_key="sk-key")
SPEC = WorkloadSpec(name="llm", command=("x",), max_replicas=2, slots=4, routes=("/", "/v1/x"))
TABLE = slots.declare(SlotTable(), [SPEC])


def filled(state: SlotState = SlotState.READY) -> SlotTable:
    table, _ = slots.fill(TABLE, "llm", "llm-0", host="127.0.0.1", port=7001, check_port=7002, maxconn=6)
    return slots.set_state(table, "llm", "llm-0", state)


def section(text: str, head: str) -> list[str]:
    """The lines of one section."""
    lines = text.splitlines()
    start = lines.index(head)
    rest = lines[start + 1 :]
    return [line.strip() for line in rest[: next((n for n, v in enumerate(rest) if not v.strip()), len(rest))]]


def test_no_secret_is_written_in_the_clear() -> None:
    text = render(SETTINGS, FILES, filled())
    assert "page-word" not in text and "sk-key" not in text


def test_file_says_what_every_slot_is_so_that_a_respawn_needs_no_replay() -> None:
    text = render(SETTINGS, FILES, filled())
    ready = next(line for line in section(text, "listen llm:0") if line.startswith("server "))
    assert ready.startswith("server s 127.0.0.1:7001 check port 7002 ") and not ready.endswith("disabled")
    empty = next(line for line in section(text, "listen llm:1") if line.startswith("server "))
    assert empty.endswith("disabled")
    outer = [line for line in section(text, "backend llm") if line.startswith("server ")]
    assert outer[0].endswith("track llm:0/s maxconn 6 weight 1")
    assert outer[1].endswith("track llm:1/s maxconn 4 weight 1")
    drained = render(SETTINGS, FILES, filled(SlotState.DRAIN))
    assert next(line for line in section(drained, "backend llm") if line.startswith("server s0")).endswith("weight 0")
    assert config.slots_map(filled()) == "llm:0 llm-0\nllm:1 -\n"


def test_longest_route_is_asked_first() -> None:
    other = WorkloadSpec(name="embedding", command=("x",), max_replicas=1, routes=("/v1/embeddings",))
    text = render(SETTINGS, FILES, slots.declare(TABLE, [SPEC, other]))
    used = [line for line in section(text, f"frontend {config.PUBLIC}") if line.startswith("use_backend")]
    assert [line.split()[1] for line in used] == ["embedding", "llm", "llm"]


def test_only_structure_needs_a_reload() -> None:
    def digest(table: SlotTable, settings: EdgeSettings = SETTINGS, snippet: str = "") -> str:
        return structure_digest(settings, FILES, table.backends, snippet)

    same = digest(TABLE)
    assert digest(filled()) == digest(filled(SlotState.DRAIN)) == same
    wider = slots.declare(TABLE, [msgspec.structs.replace(SPEC, max_replicas=3)])
    assert len({same, digest(wider), digest(TABLE, snippet="option x")}) == 3
    assert digest(TABLE, msgspec.structs.replace(SETTINGS, retries=False)) != same
    assert digest(TABLE, msgspec.structs.replace(SETTINGS, api_key="other")) != same


def test_without_retries_nothing_asks_for_them() -> None:
    text = render(msgspec.structs.replace(SETTINGS, retries=False), FILES, filled())
    assert "retry-on" not in text and "redispatch" not in text and "retries 5" not in text


def test_connections_follow_from_the_memory_limit() -> None:
    small = msgspec.structs.replace(SETTINGS, memory_limit_bytes=64 * 1024 * 1024)
    assert config.max_requests(small) < config.max_requests(SETTINGS)
    held = config.max_requests(SETTINGS) * 1.6 * config.buffer_bytes(SETTINGS)
    assert held <= SETTINGS.memory_limit_bytes


def test_snippet_is_split_into_rules_and_sections() -> None:
    rules, sections = config.split_snippet("http-request deny if x\n# c\nbackend b\n  server s 1:1\n")
    assert rules == "http-request deny if x\n# c"
    assert sections == "backend b\n  server s 1:1"
    assert config.split_snippet("") == ("", "")


def test_inner_names_can_be_read_back() -> None:
    assert config.slot_of(config.inner_name("my-llm", 12)) == ("my-llm", 12)
    assert config.slot_of("llm") is None
    long = config.inner_socket(FILES, "w" * 63, 99)
    assert len(long) <= len(FILES.inner_socket_prefix) + 9


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_public_listener_needs_a_key(host: str) -> None:
    open_to_all = EdgeSettings(stats_password="x", host=host)
    with pytest.raises(UsageError, match="API key"):
        require_safe(open_to_all)
    require_safe(msgspec.structs.replace(open_to_all, api_key="k"))
    assert not is_loopback(host)
