"""What a driver cannot do, and what its nodes are doing, as the snapshot tells it."""

from __future__ import annotations

from backend.contract.platform import NodeStatus
from backend.contract.words import Verb
from backend.daemon.drivers import missing, rollouts, use_of_nodes
from tests.fakes.fleet import FakeFleet
from tests.fakes.platform import FakePlatform


def test_what_a_driver_lacks_is_said_per_verb_and_what_it_can_is_not() -> None:
    lacks = missing(FakeFleet(), slots=True, served=True)
    assert lacks[Verb.PAUSE] == "local cannot pause replicas"
    assert lacks.keys() == {
        *(Verb.PAUSE, Verb.UNPAUSE, Verb.EVICT, Verb.ROLLBACK),
        *(Verb.CORDON, Verb.UNCORDON, Verb.NODE_DRAIN, Verb.EXEC, Verb.FORWARD),
    }


def test_without_an_edge_of_ours_nothing_can_be_drained_and_no_load_sent() -> None:
    whole = missing(FakeFleet(), slots=True, served=True).keys()
    assert missing(FakeFleet(), slots=False, served=True).keys() - whole == {Verb.DRAIN, Verb.UNDRAIN}
    bare = missing(FakeFleet(), slots=False, served=False)
    assert bare.keys() - whole == {Verb.DRAIN, Verb.UNDRAIN, Verb.LOAD_START, Verb.LOAD_STOP}
    assert "evict" in bare[Verb.DRAIN]


def test_what_the_platform_says_itself_comes_before_what_is_lacking() -> None:
    class Told(FakeFleet):
        def limits(self) -> dict[str, str]:
            return {"scale": "needs `patch` on `deployments/scale`", "pause": "frozen by decree"}

        def trouble(self) -> None:
            return None

    assert missing(Told(), slots=True, served=True)[Verb.SCALE].startswith("needs `patch`")
    assert missing(Told(), slots=True, served=True)[Verb.PAUSE] == "frozen by decree"


async def test_only_rollouts_under_way_are_told() -> None:
    platform = FakePlatform()
    platform.put("web", 1)
    assert rollouts(platform) == {}
    assert rollouts(FakeFleet()) == {}


def test_nodes_together() -> None:
    nodes = (
        NodeStatus(name="a", ready=True, cpu_percent=10.0, memory_bytes=1, memory_capacity_bytes=4),
        NodeStatus(name="b", ready=True, cpu_percent=30.0, memory_bytes=3, memory_capacity_bytes=12),
        NodeStatus(name="c", ready=False),
    )
    assert use_of_nodes(nodes) == (20.0, 25.0)
    assert use_of_nodes(nodes[2:]) == (None, None)
