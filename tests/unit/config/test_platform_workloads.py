"""What a trinity.yaml may say of workloads on Docker and Kubernetes, and every sentence it is refused with."""

from __future__ import annotations

import pytest

from backend.contract.fleet import WorkloadSpec
from tests.unit.config.test_resolve import made, refused


def docker(lines: str) -> str:
    """A docker fleet's workload `w`; `lines` stand on line 5 and after."""
    return f"trinity: 1\ndriver: docker\nworkloads:\n  w:\n{lines}"


def spec_of(lines: str) -> WorkloadSpec:
    (found,) = made(docker(lines)).workloads
    return found


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("trinity: 1\nworkloads:\n  w: {builtin: llm, image: a}\n", 3, ("runs as processes", "`driver: docker`")),
        ("trinity: 1\nworkloads:\n  w: {builtin: llm, of: a}\n", 3, ("has `of`, but runs as processes",)),
        (docker("    builtin: llm\n"), 5, ("the engine runs what is only described", "Add `image: ...`")),
        (docker("    command: [serve]\n"), 5, ("has `command`",)),
        (docker("    of: web\n    replicas: 2\n"), 6, ("has `replicas`, but that is for the engine to say",)),
        (docker("    of: web\n    env: {A: b}\n"), 6, ("has `env`",)),
        (docker("    of: web\n    probes: {readiness: {tcp: true}}\n"), 6, ("has `probes`",)),
        (docker("    of: web\n    resources: {memory: 1Gi}\n"), 6, ("has `resources`",)),
        (docker('    of: ""\n'), 5, ("empty `of`",)),
        (docker('    image: ""\n'), 5, ("has the image ``",)),
        (docker("    image: a b\n"), 5, ("has the image `a b`",)),
        (docker("    image: a\n    of: web\n"), 6, ("both `image` and `of`",)),
        (docker("    image: a\n    builtin: llm\n    command: [b]\n"), 7, ("both `builtin` and `command`",)),
        (docker("    image: a\n    builtin: llm\n    model: /m.gguf\n"), 7, ("a container cannot read", "MODEL_PATH")),
        (docker("    image: a\n    cwd: here\n"), 6, ("the directory `here`", "whole path")),
        (docker("    image: a\n    probes:\n      liveness: {command: [b]}\n"), 7, ("not in the container", "`tcp`")),
        (docker("    image: a\n    replicas: 17\n"), 6, ("wants 17 replicas",)),
        ("trinity: 1\ndriver: kubernetes\nworkloads:\n  w: {image: a}\n", 4, ("pods are the cluster's", "`of:")),
        (
            "trinity: 1\ndriver: kubernetes\nworkloads:\n  w: {builtin: llm}\n",
            4,
            ("the cluster runs",),
        ),
    ],
)
def test_each_check_names_its_line_and_what_to_do(text: str, line: int, words: tuple[str, ...]) -> None:
    error = refused(text)
    assert error.line == line, str(error)
    for word in words:
        assert word in str(error)


def test_a_built_in_program_in_an_image_is_sized_and_probed_like_a_process() -> None:
    local, contained = (
        made(f"trinity: 1\n{driver}workloads:\n  llm: {{builtin: llm{image}}}\n").workloads[0]
        for driver, image in (("", ""), ("driver: docker\n", ", image: 'trinity-llm:1'"))
    )
    assert contained.command == ("python3", "-P", "-m", "backend.serving.llm")
    assert contained.image == "trinity-llm:1"
    assert (contained.slots, contained.env, contained.probes) == (local.slots, local.env, local.probes)
    assert contained.revision != local.revision


def test_an_image_may_bring_its_own_command_and_gets_a_route_of_its_name() -> None:
    spec = spec_of("    image: web:1\n    port: 8080\n")
    assert spec.command == ()
    assert spec.routes == ("/w",)
    assert spec.cwd is None
    assert spec.port == 8080
    assert spec.probes.readiness is not None
    assert spec.probes.readiness.kind == "tcp"


def test_another_image_is_another_revision() -> None:
    assert spec_of("    image: web:1\n").revision != spec_of("    image: web:2\n").revision


def test_the_engines_own_workload_is_described_and_gets_no_route_by_itself() -> None:
    spec = spec_of("    slots: 3\n")
    assert (spec.of, spec.image, spec.routes, spec.slots, spec.command) == ("w", "", (), 3, ())
    routed = spec_of("    of: shop-web\n    port: 8000\n    routes: [/shop]\n    engine: vllm\n")
    assert (routed.of, routed.port, routed.routes, routed.engine) == ("shop-web", 8000, ("/shop",), "vllm")


@pytest.mark.parametrize("driver", ["docker", "kubernetes"])
def test_a_platforms_fleet_without_workloads_has_none_of_ours(driver: str) -> None:
    assert made(f"trinity: 1\ndriver: {driver}\n").workloads == ()
