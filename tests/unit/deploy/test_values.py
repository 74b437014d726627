"""Values: one truth in three forms, merged as Helm merges them, and every mistake with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.errors import FileError
from backend.deploy.places import HELM
from backend.deploy.values import Values, json_schema, merge, parse_values, read_values
from backend.deploy.yaml_text import to_yaml

SCHEMA = json.loads((HELM / "values.schema.json").read_text())


def plain(value: object) -> Any:
    """As JSON has it: lists, not tuples."""
    return json.loads(msgspec.json.encode(value))


def test_the_commented_file_says_what_the_defaults_are() -> None:
    assert read_values(HELM / "values.yaml") == Values()
    assert yaml.safe_load((HELM / "values.yaml").read_text()) == plain(Values())


def test_the_schema_is_that_of_the_types() -> None:
    words = "write it anew: msgspec.json.format of backend.deploy.values.json_schema(), indent 2"
    assert plain(json_schema()) == SCHEMA, words
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ["values.yaml", "values-staging.yaml", "values-production.yaml"])
def test_shipped_values_fit_the_schema(name: str) -> None:
    jsonschema.validate(yaml.safe_load((HELM / name).read_text()), SCHEMA)


def test_a_file_without_values_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    for text in ("", "# nothing yet\n\n"):
        file.write_text(text)
        assert read_values(file) == Values()
    assert read_values(None) == Values()


def test_maps_are_merged_and_lists_replaced() -> None:
    values = parse_values("llm: {resources: {limits: {cpu: 4}}, routes: [/v1]}\n", "v")
    assert values.llm.resources.limits == {"cpu": "4", "memory": "2Gi"}
    assert values.llm.routes == ("/v1",)
    assert values.embedding == Values().embedding


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("llm: {replica: 3}\n", "v:1:7", "Did you mean `replicas`?"),
        ("llm:\n  replicas: many\n", "v:2:13", "a whole number is wanted"),
        ("llm:\n  replicas: -1\n", "v:2:3", ">= 0"),
        ("edge:\n  service: {type: Public}\n", "v:2:19", "allowed: ClusterIP"),
        ("edge: {service: {nodePort: 80}}\n", "v:1:18", ">= 30000"),
        ("extraWorkloads:\n  - {name: edge, image: x}\n", "v:1:1", "`edge` is taken"),
        ("extraWorkloads:\n  - {name: web, image: x, routes: [/w]}\n", "v:1:1", "no port"),
        ("extraWorkloads:\n  - {image: x}\n", "v:2:5", "lacks `name`"),
        ("llm: {replicas: 40}\n", "v:1:1", "the edge sees 16"),
        ("compose: {host: 0.0.0.0}\nedge: {open: true}\n", "v:2:1", "without a key"),
        ("llm:\n\tslots: 1\n", "v:2:1", "Indent with spaces"),
    ],
)
def test_every_mistake_is_named_with_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(FileError) as caught:
        parse_values(text, "v")
    assert str(caught.value).startswith(f"{place}:") and words in str(caught.value), str(caught.value)
    assert caught.value.exit_code == 64 and caught.value.next_step


def test_what_the_platform_reads_is_kept_as_it_was_written() -> None:
    text = (
        "llm:\n  tolerations: [{key: a, tolerationSeconds: 30, operator: Exists}]\n  affinity: {x: [1, true, null]}\n"
    )
    llm = parse_values(text, "v").llm
    assert llm.tolerations == ({"key": "a", "tolerationSeconds": 30, "operator": "Exists"},)
    assert llm.affinity == {"x": [1, True, None]}


_MAPS = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from("abc"), _MAPS), st.dictionaries(st.sampled_from("abc"), _MAPS))
def test_what_is_laid_over_wins_and_laying_it_twice_changes_nothing(base: dict[str, Any], over: dict[str, Any]) -> None:
    merged = merge(base, over)
    assert merge(merged, over) == merged
    assert merge(base, {}) == base and merge({}, over) == over
    assert set(merged) == set(base) | set(over)


@given(
    st.integers(0, 16),
    st.integers(1, 99),
    st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text(max_size=8), max_size=3),
)
def test_values_survive_being_written_and_read(replicas: int, slots: int, env: dict[str, str]) -> None:
    llm = msgspec.structs.replace(Values().llm, replicas=replicas, slots=slots, env=env)
    values = msgspec.structs.replace(Values(), llm=llm)
    assert parse_values(to_yaml(msgspec.to_builtins(values)), "v") == values
