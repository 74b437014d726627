"""Label selectors mean what the API says, written either way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kube_emulator.selectors import field_selector, label_selector, object_selector
from tests.kube_emulator.status import ApiError

keys = st.sampled_from(["app", "tier", "example.com/zone"])
values = st.sampled_from(["a", "b", "c-1", "1"])
labels = st.dictionaries(keys, values)
operators = st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"])
expression = st.tuples(keys, operators, st.lists(values, min_size=1, max_size=3))
expressions = st.lists(expression, min_size=1, max_size=3)


def _text(key: str, operator: str, some: list[str]) -> str:
    inside = ", ".join(some)
    return {"In": f"{key} in ({inside})", "NotIn": f"{key} notin ({inside})", "Exists": key, "DoesNotExist": f"!{key}"}[
        operator
    ]


@given(found=labels, wanted=expressions)
def test_text_and_object_selectors_agree(found: dict[str, str], wanted: list[tuple[str, str, list[str]]]) -> None:
    by_text = label_selector(",".join(_text(*entry) for entry in wanted))
    spec = [{"key": key, "operator": operator, "values": some} for key, operator, some in wanted]
    assert by_text is not None
    assert by_text(found) == object_selector({"matchExpressions": spec})(found)


@given(found=labels, key=keys, value=values)
def test_equality_is_in_and_inequality_its_opposite(found: dict[str, str], key: str, value: str) -> None:
    texts = (f"{key}={value}", f"{key}=={value}", f"{key} in ({value})")
    answers = {match(found) for text in texts if (match := label_selector(text))}
    unequal = label_selector(f"{key}!={value}")
    assert unequal is not None
    assert answers == {not unequal(found)} == {found.get(key) == value}


def test_no_selector_takes_all_and_a_null_one_of_an_object_none() -> None:
    assert label_selector(" ") is None
    assert object_selector({})({"a": "b"})
    assert not object_selector(None)({"a": "b"})


@pytest.mark.parametrize("text", ["a in b", "=x", "a,,b", "a in (b", "-a=1"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        label_selector(text)
    assert refused.value.code == 400


def test_numbers_are_compared_as_numbers() -> None:
    above = label_selector("cores > 8")
    assert above is not None
    assert above({"cores": "16"}) and not above({"cores": "8"}) and not above({"cores": "x"}) and not above({})


def test_a_missing_boolean_field_is_false() -> None:
    match = field_selector("spec.unschedulable=false", "nodes", "v1", "Node")
    assert match is not None
    assert match({"spec": {}}) and not match({"spec": {"unschedulable": True}})
