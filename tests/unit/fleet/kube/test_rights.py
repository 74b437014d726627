"""What an account may not do is said before it is tried, by the rule that is missing; what is not sure is tried."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backend.contract.words import Verb
from backend.fleet.kube.rights import CLUSTER_WIDE, LACKING, Need, Review, limits_of, permits, rules_of, ways

READS = {"verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"]}


def review(*rules: dict[str, Any], incomplete: bool = False, **answers: bool) -> Review:
    found = rules_of({"status": {"resourceRules": list(rules), "nonResourceRules": [], "incomplete": incomplete}})
    return Review(found.rules, found.complete, {need: answers.get(need.verb, False) for need in CLUSTER_WIDE})


def test_a_reader_is_told_the_missing_rule_of_each_verb() -> None:
    limits = limits_of(review(READS), "shop", ["Deployment"], minor=36)
    assert limits["scale"] == "needs `patch` on `deployments/scale` (apps) in namespace shop"
    assert limits["rollout"] == "needs `patch` on `deployments` (apps) in namespace shop"
    assert limits["kill"] == limits["restart"] == "needs `delete` on `pods` in namespace shop"
    assert limits["evict"] == "needs `create` on `pods/eviction` in namespace shop"
    assert limits["cordon"] == limits["uncordon"] == "needs `patch` on `nodes` in the whole cluster"
    assert limits["exec"] == "needs `create` on `pods/exec` in namespace shop"
    assert "`create` on `pods/eviction` in the whole cluster" in limits["node-drain"]
    assert "apply" not in limits


def test_an_older_server_asks_only_for_get_on_streams() -> None:
    assert "exec" not in limits_of(review(READS), "shop", minor=34)
    assert "forward" in limits_of(review(READS), "shop", minor=35)


def test_an_administrator_lacks_only_what_the_platform_lacks() -> None:
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    limits = limits_of(review(everything, patch=True, list=True, watch=True, create=True), "shop", minor=36)
    assert limits == {str(verb): why for verb, why in LACKING.items()}


def test_an_incomplete_review_greys_nothing_out_that_it_does_not_know() -> None:
    assert "scale" not in limits_of(review(incomplete=True), "shop")
    assert "cordon" in limits_of(review(incomplete=True), "shop"), "asked for by itself, so it is known"


def test_one_kind_that_may_be_scaled_leaves_the_verb_alone() -> None:
    scales = {"verbs": ["patch"], "apiGroups": ["apps"], "resources": ["statefulsets/scale"]}
    assert "scale" not in limits_of(review(READS, scales), "shop", ["Deployment", "StatefulSet"])
    assert "deployments/scale" in limits_of(review(READS, scales), "shop", ["Deployment"])["scale"]


def test_a_rule_for_named_objects_is_tried() -> None:
    named = {"verbs": ["patch"], "apiGroups": ["apps"], "resources": ["deployments/scale"], "resourceNames": ["web"]}
    assert "scale" not in limits_of(review(READS, named), "shop", ["Deployment"])


def test_rollback_needs_the_history_too() -> None:
    patches = {"verbs": ["patch"], "apiGroups": ["apps"], "resources": ["deployments"]}
    assert limits_of(review(patches), "shop", ["Deployment"])["rollback"] == (
        "needs `list` on `replicasets` (apps) in namespace shop"
    )


_words = st.lists(
    st.sampled_from(["get", "patch", "delete", "create", "*", "pods", "pods/exec", "apps", ""]), max_size=4
)
_rules = st.fixed_dictionaries({}, optional={"verbs": _words, "apiGroups": _words, "resources": _words})
_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(_rules, max_size=5), st.lists(_rules, max_size=3))
def test_more_rules_never_forbid_more(some: list[dict[str, Any]], more: list[dict[str, Any]]) -> None:
    few, many = review(*some), review(*some, *more)
    assert set(limits_of(many, "shop")) <= set(limits_of(few, "shop"))


@given(st.lists(_rules, max_size=5))
def test_a_verb_is_limited_exactly_where_no_way_to_it_is_permitted(rules: list[dict[str, Any]]) -> None:
    seen = review(*rules, patch=True, list=True, watch=True, create=True)
    limits = limits_of(seen, "shop")
    for verb in Verb:
        open_to = [way for way in ways(verb, (), None) if all(_allowed(seen, need) for need in way)]
        if ways(verb, (), None):
            assert (str(verb) in limits) == (not open_to)


def _allowed(seen: Review, need: Need) -> bool:
    return seen.answers[need] if need in seen.answers else permits(seen.rules, need)


@given(_json)
def test_no_answer_of_any_shape_breaks_a_review(answer: Any) -> None:
    found = rules_of(answer)
    limits_of(found, "shop")
    assert not (found.complete and not found.rules and not isinstance(answer, dict))
