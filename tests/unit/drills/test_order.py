"""Seeds: the same run again has the same arrivals and orders the same faults of the same holders."""

from __future__ import annotations

from backend.drills.check import load_scenario
from backend.drills.faults import order_of
from backend.drills.loads import spec_of
from backend.drills.ports import LoadOrder
from backend.drills.scenario import Arrival, RequestMix
from backend.load import schedule
from tests.unit.drills.samples import MINIMAL


def arrivals(seed: int, run_id: str = "r", name: str = "chat") -> list[float]:
    order = LoadOrder(
        name=name, run_id=run_id, fleet="local", workload="llm", model="m", url="http://127.0.0.1:1",
        kind="chat-plain", arrival=Arrival(rate="5/s"), request=RequestMix(), rate=5.0, seed=seed, horizon_s=20.0,
    )  # fmt: skip
    return schedule(spec_of(order))


def test_the_same_seed_gives_the_same_arrivals_in_every_run() -> None:
    assert arrivals(7, "first") == arrivals(7, "second")
    assert arrivals(7) != arrivals(8)
    assert arrivals(7) != arrivals(7, name="plain"), "two loads never arrive in step"


def test_the_same_seed_touches_the_same_requests_and_no_two_holders_the_same_ones() -> None:
    injection = load_scenario(
        MINIMAL.replace("process.kill, target: victim", "net.reset, target: pool, share: 0.5").replace(
            "[pid_gone]", "[holder_active]"
        ),
        "t.yaml",
    ).scenario.injections()[0]

    def seed(of: int, run_id: str, replica: str) -> int:
        return order_of(injection, run_id, replica, ttl_s=9.0, seed=of).seed

    assert seed(7, "first", "llm-0") == seed(7, "second", "llm-0")
    assert len({seed(7, "r", "llm-0"), seed(7, "r", "llm-1"), seed(8, "r", "llm-0")}) == 3
    order = order_of(injection, "r", "llm-0", ttl_s=9.0, seed=7)
    assert (order.id, order.kind, order.share, order.ttl_s) == ("r:kill-a:llm-0", "reset", 0.5, 9.0)
