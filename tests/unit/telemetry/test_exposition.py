"""The tolerant reader agrees with prometheus_client on good text and skips what is broken."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from backend.telemetry.exposition import Sample, parse
from tests.unit.telemetry.scenes import SCRAPES


def known_parser(text: str) -> list[tuple[str, dict[str, str], float]]:
    # Counters as gauges: the library renames counters that do not end in _total.
    text = text.replace(" counter\n", " gauge\n")
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


@pytest.mark.parametrize("engine", ["llamacpp", "vllm"])
def test_golden_scrapes_read_as_the_library_reads_them(engine: str) -> None:
    text = (SCRAPES / f"{engine}.txt").read_text()
    assert [(s.name, dict(s.labels), s.value) for s in parse(text)] == known_parser(text)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z_:][a-z0-9_:]{0,8}", fullmatch=True),
            st.dictionaries(
                st.from_regex(r"[a-z_][a-z0-9_]{0,4}", fullmatch=True),
                st.text(st.sampled_from('ab\\"{},= \n\r\u2028'), max_size=8),
                max_size=3,
            ),
            st.floats(allow_nan=False),
        ),
        max_size=8,
    )
)
def test_whatever_is_written_is_read(samples: list[tuple[str, dict[str, str], float]]) -> None:
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    lines = [
        name + "{" + ",".join(f'{key}="{escaped(text)}"' for key, text in labels.items()) + "} " + repr(value)
        for name, labels, value in samples
    ]
    read = list(parse("\n".join(lines) + "\n"))
    assert [(sample.name, dict(sample.labels), sample.value) for sample in read] == samples


def test_broken_lines_are_skipped_and_the_rest_stays() -> None:
    text = '\n# comment\na 1\nb{x=unquoted} 2\nc{x="open 3\nd{x="y"} four\ne\nf{x="y"} 5 1700000000\n{} 3\n'
    assert list(parse(text)) == [Sample("a", {}, 1.0), Sample("f", {"x": "y"}, 5.0)]


def test_a_cut_number_is_not_taken_for_a_whole_one() -> None:
    assert [sample.value for sample in parse("a 12\na 345")] == [12.0]


def test_special_numbers() -> None:
    values = [sample.value for sample in parse("a NaN\nb +Inf\nc -Inf\nd 1e3\n")]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf, 1000.0]
