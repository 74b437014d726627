"""The small pure parts of the Kubernetes driver: lines of a watch, quantities, selectors, the roster, certificates."""

from __future__ import annotations

import base64
import itertools
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.errors import UsageError
from backend.contract.fleet import ReplicaStatus
from backend.contract.words import Phase
from backend.fleet.kube.answers import api_error
from backend.fleet.kube.credentials import certificate_expiry, token_expiry
from backend.fleet.kube.quantities import quantity
from backend.fleet.kube.roster import Roster
from backend.fleet.kube.selector import parse_selector, selects
from backend.fleet.kube.shapes import LabelSelector
from backend.fleet.kube.watch_lines import MAX_LINE, Garbage, LineSplitter
from tests.kube_emulator.selectors import label_selector, object_selector


@given(st.lists(st.binary(max_size=20), max_size=20), st.lists(st.integers(0, 400), max_size=10))
def test_lines_are_the_same_however_they_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"\n".join(parts)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    splitter = LineSplitter()
    got = [line for a, b in itertools.pairwise(places) for line in splitter.feed(stream[a:b])]
    assert got == [line for line in stream.split(b"\n")[:-1] if line.strip()]


def test_a_line_without_end_is_garbage() -> None:
    splitter = LineSplitter()
    for _ in range(MAX_LINE // 2**20):
        assert splitter.feed(b"x" * 2**20) == []
    with pytest.raises(Garbage):
        splitter.feed(b"x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", 0.25),
        ("12345678n", 0.012345678),
        ("1", 1.0),
        ("128Mi", 128.0 * 2**20),
        ("1.5Gi", 1.5 * 2**30),
        ("2k", 2000.0),
        ("1e3", 1000.0),
        ("1E", 1e18),
        (3, 3.0),
        ("", None),
        ("lots", None),
        ("E", None),
        ("1Xi", None),
        (None, None),
        (True, None),
    ],
)
def test_quantities(text: str | int | None, value: float | None) -> None:
    found = quantity(text)
    assert found == (pytest.approx(value) if value is not None else None)


@given(st.text(max_size=12) | st.integers() | st.floats())
def test_any_quantity_is_a_number_or_none(value: str | int | float) -> None:
    found = quantity(value)
    assert found is None or abs(found) >= 0


LABELS = st.dictionaries(st.sampled_from(["app", "tier", "zone"]), st.sampled_from(["a", "b", "c"]), max_size=3)
KEYS = st.sampled_from(["app", "tier", "zone"])
RULES = st.one_of(
    st.builds("{}={}".format, KEYS, st.sampled_from("abc")),
    st.builds("{} == {}".format, KEYS, st.sampled_from("abc")),
    st.builds("{}!={}".format, KEYS, st.sampled_from("abc")),
    st.builds("{} in ({},{})".format, KEYS, st.sampled_from("abc"), st.sampled_from("abc")),
    st.builds("{} notin ({})".format, KEYS, st.sampled_from("abc")),
    st.builds("!{}".format, KEYS),
    KEYS,
)


@given(st.lists(RULES, max_size=4).map(",".join), LABELS)
def test_a_selector_takes_what_the_api_server_takes(text: str, labels: dict[str, str]) -> None:
    theirs = label_selector(text)
    assert parse_selector(text)(labels) is (theirs is None or theirs(labels))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "matchLabels": LABELS,
            "matchExpressions": st.lists(
                st.fixed_dictionaries(
                    {
                        "key": KEYS,
                        "operator": st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
                        "values": st.lists(st.sampled_from("abc"), max_size=2),
                    }
                ),
                max_size=3,
            ),
        },
    ),
    LABELS,
)
def test_an_objects_selector_takes_what_a_controller_takes(selector: dict[str, object], labels: dict[str, str]) -> None:
    assert selects(msgspec.convert(selector, LabelSelector), labels) is object_selector(selector)(labels)


def test_a_selector_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="is no rule"):
        parse_selector("app in a,b")


def status(name: str, created: float, node: str) -> ReplicaStatus:
    return ReplicaStatus(name=name, fleet="f", workload="w", phase=Phase.READY, created_ts=created, node=node)


NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.tuples(st.just("put"), NAMES, st.integers(0, 3), st.sampled_from(["n", "m"]))
    | st.tuples(st.just("drop"), NAMES, st.just(0), st.just("")),
    max_size=30,
)


@given(STEPS)
def test_the_roster_is_what_was_put_and_not_dropped_oldest_first(steps: list[tuple[str, str, int, str]]) -> None:
    roster, model = Roster(), dict[str, ReplicaStatus]()
    for what, name, created, node in steps:
        if what == "put":
            model[name] = status(name, float(created), node)
            roster.put(model[name])
        else:
            assert roster.drop(name) == model.pop(name, None)
        assert list(roster.all()) == sorted(model.values(), key=lambda found: (found.created_ts, found.name))
        assert roster.all() is roster.all()
        on = [found.node for found in model.values()]
        assert dict(roster.on_node) == {node: on.count(node) for node in set(on)}


def test_the_end_of_a_certificate_is_read(tmp_path: Path) -> None:
    made = tmp_path / "a.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "30", "-subj", "/CN=a", "-keyout", str(tmp_path / "key"), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    shown = subprocess.run(["openssl", "x509", "-enddate", "-noout", "-in", str(made)], check=True, capture_output=True)
    end = datetime.strptime(shown.stdout.decode().strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert certificate_expiry(made.read_bytes()) == end.timestamp()


@given(st.binary(max_size=80))
def test_what_is_no_certificate_has_no_end(der: bytes) -> None:
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
    found = certificate_expiry(pem)
    assert found is None or isinstance(found, float)


@given(st.text(max_size=40))
def test_what_is_no_token_of_json_has_no_end(text: str) -> None:
    assert token_expiry(text) is None or "." in text


def test_the_end_of_a_token_is_read() -> None:
    claims = base64.urlsafe_b64encode(b'{"exp":1800000000}').decode().rstrip("=")
    assert token_expiry(f"e30.{claims}.sig") == 1800000000.0


@given(st.integers(400, 599), st.binary(max_size=60), st.none() | st.text(max_size=5))
def test_any_answer_is_an_error_with_a_sentence(code: int, body: bytes, retry_after: str | None) -> None:
    found = api_error(code, body, retry_after)
    assert found.status == code
    assert found.message
    assert found.reason
