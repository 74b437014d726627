"""Whatever the API server refuses is one sentence with a remedy; a missing right is named as its rule."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.errors import Refused, TrinityError, Unreachable
from backend.fleet.kube.answers import ApiError, network_error
from backend.fleet.kube.exec import exit_code_of
from backend.fleet.kube.refusals import budget_words, worded


def test_a_missing_right_is_named_as_its_rule() -> None:
    said = (
        'deployments.apps "web" is forbidden: User "ci" cannot patch resource "deployments/scale" in API group "apps" '
    )
    error = worded(ApiError(403, "Forbidden", said + 'in the namespace "shop"'), "scale web")
    assert isinstance(error, Refused)
    assert error.message == "Could not scale web: ci needs `patch` on `deployments/scale` (apps) in namespace shop."
    assert "Role" in error.next_step
    cluster = 'nodes "n1" is forbidden: User "ci" cannot patch resource "nodes" in API group "" at the cluster scope'
    error = worded(ApiError(403, "Forbidden", cluster), "cordon n1")
    assert error.message.endswith("ci needs `patch` on `nodes` in the whole cluster.")
    assert "ClusterRole" in error.next_step


def test_a_policy_that_forbids_speaks_for_itself() -> None:
    error = worded(
        ApiError(403, "Forbidden", 'admission webhook "gate" denied the request: not on Fridays'), "scale web"
    )
    assert "not on Fridays" in error.message


@given(st.sampled_from([400, 401, 403, 404, 405, 409, 410, 422, 429, 500, 503, 504]), st.text(max_size=60))
def test_each_refusal_is_a_sentence_with_a_next_step(status: int, said: str) -> None:
    error = worded(ApiError(status, "Odd", said), "scale web")
    assert error.message.endswith(".")
    assert "\n" not in error.message
    assert error.next_step.endswith(".")


def test_a_budgets_no_is_told_from_a_busy_server() -> None:
    causes = [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods and has 2"}]
    assert "needs 2 healthy" in budget_words(
        ApiError(429, "TooManyRequests", "Cannot evict", details={"causes": causes})
    )
    assert budget_words(ApiError(429, "TooManyRequests", "too many requests, try again")) == ""
    assert budget_words(ApiError(404, "NotFound", "pods not found")) == ""


def test_exit_codes_are_read_from_the_status() -> None:
    failed = (
        b'{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}'
    )
    assert exit_code_of(failed, "x") == 3
    assert exit_code_of(b'{"status":"Success"}', "x") == 0
    assert (
        exit_code_of(b'{"status":"Failure","message":"exec: \\"x\\": executable file not found in $PATH"}', "x") == 127
    )
    with pytest.raises(TrinityError, match="could not be run"):
        exit_code_of(b'{"status":"Failure","message":"container is gone"}', "x")
    unable = b'{"status":"Failure","message":"unable to upgrade connection: container not found (\\"main\\")"}'
    with pytest.raises(TrinityError, match="its container does not run now"):  # not: there is no such program
        exit_code_of(unable, "x")


@given(st.binary(max_size=60))
def test_a_status_of_any_bytes_ends_a_program(data: bytes) -> None:
    try:
        code = exit_code_of(data, "x")
    except TrinityError as error:
        code, said = 1, error.message
        assert said.startswith("x could not be run")
    assert code >= 0


@pytest.mark.parametrize("cut", [ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError])
def test_a_server_that_dies_in_the_middle_of_tls_is_unreachable_not_misconfigured(cut: type[ssl.SSLError]) -> None:
    found = network_error(cut(8, "EOF occurred in violation of protocol"), "https://api")
    assert isinstance(found, Unreachable)
    assert "broke" in found.message
