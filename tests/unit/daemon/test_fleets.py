"""The fleets of a daemon: each on its own, whatever happens to another; remembered before it is promised."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from backend.actions.executor import Progress
from backend.config.fleet_orders import config_of
from backend.config.known_fleets import KnownFleet, read_known
from backend.config.paths import StatePaths
from backend.config.resolve import FleetConfig
from backend.contract.clock import SystemClock
from backend.contract.control import ActionRequest, FleetInfo, FleetOrder
from backend.contract.errors import Refused, TrinityError, UsageError
from backend.contract.words import Verb
from backend.daemon import one_fleet
from backend.daemon.fleets import Fleets
from backend.daemon.fleets_api import daemon_app
from tests.unit.console.sample import snapshot

ORDER = FleetOrder(address="k8s:prod/shop")
NAME = "k8s:prod/shop"


class Gateway:
    """Keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[ActionRequest] = []

    async def perform(self, request: ActionRequest, progress: Progress | None = None) -> Any:
        self.asked.append(request)
        raise Refused("no.")


class FakeParts:
    """Parts that open as the test says, and note their life."""

    def __init__(self, world: World, paths: StatePaths, config: FleetConfig, first: bool) -> None:
        self.world, self.paths, self.config, self.first = world, paths, config, first
        self.clock, self.gateway, self.metrics_url, self.started_ts = SystemClock(), Gateway(), "", 0.0
        self.events: list[tuple[str, str]] = []
        world.made.append(self)

    async def open(self) -> None:
        troubles = self.world.troubles.get(self.config.name, [])
        if troubles:
            raise troubles.pop(0)
        self.world.life.append(("open", self.config.name))

    async def close(self) -> None:
        self.world.life.append(("close", self.config.name))
        if self.world.hurt == self.config.name:
            raise RuntimeError("it hurts")

    async def take_down(self) -> None:
        self.world.life.append(("take_down", self.config.name))

    def snapshot(self) -> Any:
        return msgspec.structs.replace(snapshot(), fleet=self.config.name)

    def event(self, kind: str, _severity: object, _subject: str, message: str) -> None:
        self.events.append((kind, message))


class World:
    """A daemon's fleets over fake parts."""

    def __init__(self, root: Path) -> None:
        self.paths = StatePaths(root / "s").create()
        self.made: list[FakeParts] = []
        self.troubles: dict[str, list[Exception]] = {}
        self.life: list[tuple[str, str]] = []
        self.hurt = ""
        self.down = 0

    def fleets(self, first: KnownFleet | None = None) -> Fleets:
        known = first or KnownFleet(name="local")

        def make(paths: StatePaths, config: FleetConfig, is_first: bool) -> Any:
            return FakeParts(self, paths, config, is_first)

        def shutdown() -> None:
            self.down += 1

        return Fleets(self.paths, known, config_of(known), make, shutdown=shutdown)

    async def opened(self) -> Fleets:
        fleets = self.fleets()
        await fleets.open_first()
        fleets.open_others()
        return fleets

    def parts(self, name: str) -> FakeParts:
        return [each for each in self.made if each.config.name == name][-1]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(one_fleet, "FIRST_RETRY_S", 0.01)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="fl") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        yield World(Path(short))


@pytest.fixture
async def fleets(world: World) -> AsyncIterator[Fleets]:
    made = await world.opened()
    yield made
    await made.end(take_down=False)


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not met():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.005)


async def test_one_that_cannot_be_opened_is_tried_again_and_each_cause_is_told_once(world: World) -> None:
    fleets = await world.opened()
    await fleets.add(ORDER)
    await fleets.end(take_down=False)
    world.troubles[NAME] = [TrinityError("no port.", "mend."), TrinityError("no port.", "mend."), OSError(5, "broken")]
    again = await world.opened()
    assert [info.health for info in again.infos()] == ["ok", "starting"]
    await until(lambda: again.infos()[1].health == "ok")
    told = [words for kind, words in world.parts("local").events if kind == "fleet.not_opened"]
    assert len(told) == 2
    assert "no port. mend." in told[0]
    assert "broken" in told[1]
    await again.end(take_down=False)


async def test_one_without_a_socket_is_closed_before_it_is_tried_again(
    world: World, fleets: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen_on, refusals = one_fleet.listen_on, [OSError(28, "No space left on device")]

    def refused_once(path: Path) -> Any:
        if refusals:
            raise refusals.pop()
        return listen_on(path)

    monkeypatch.setattr(one_fleet, "listen_on", refused_once)
    with pytest.raises(OSError, match="No space"):
        await fleets.add(ORDER)
    assert [what for what, name in world.life if name == NAME] == ["open", "close"], "nothing of it is left running"
    await fleets.add(ORDER)
    assert world.life[-1] == ("open", NAME)


async def test_it_is_remembered_before_it_is_promised_and_not_where_it_cannot_be(world: World, fleets: Fleets) -> None:
    info = await fleets.add(ORDER)
    assert (info.name, info.address, info.driver) == (NAME, NAME, "kubernetes")
    assert [known.name for known in read_known(world.paths.fleets_file)] == [NAME]
    assert world.parts(NAME).paths == world.paths.further_fleets()[0]
    assert not world.parts(NAME).first
    world.troubles["docker"] = [TrinityError("no.", "mend.")]
    with pytest.raises(TrinityError, match="no"):
        await fleets.add(FleetOrder(address="docker"))
    world.paths.fleets_file.unlink()
    (world.paths.state_dir / ".fleets.json.part").mkdir()  # now it cannot be written
    with pytest.raises(TrinityError, match="could not be written"):
        await fleets.add(FleetOrder(address="docker"))
    assert world.life[-1] == ("close", "docker")
    assert [info.name for info in fleets.infos()] == ["local", NAME]
    with pytest.raises(TrinityError, match="could not be written"):
        await fleets.forget(NAME, take_down=False)
    assert [info.name for info in fleets.infos()] == ["local", NAME], "it is still looked after"


@pytest.mark.parametrize(
    "order", [ORDER, FleetOrder(address="kubernetes:prod/shop", name="other"), FleetOrder(address="docker", name=NAME)]
)
async def test_a_name_and_an_address_are_taken_once(fleets: Fleets, order: FleetOrder) -> None:
    answers = await asyncio.gather(fleets.add(ORDER), fleets.add(order), return_exceptions=True)
    assert {type(answer) for answer in answers} == {FleetInfo, UsageError}, "whichever of both comes first"
    assert len(fleets.infos()) == 2


async def test_it_is_detached_or_taken_down_and_forgotten(world: World, fleets: Fleets) -> None:
    for take_down, how in ((False, "close"), (True, "take_down")):
        await fleets.add(ORDER)
        await fleets.forget(NAME, take_down=take_down)
        assert world.life[-1] == (how, NAME)
        assert read_known(world.paths.fleets_file) == []
    with pytest.raises(UsageError, match="There is no fleet"):
        await fleets.forget(NAME, take_down=False)
    with pytest.raises(Refused, match="was started with"):
        await fleets.forget("local", take_down=True)


async def test_all_end_even_where_one_does_not_end_well(world: World) -> None:
    fleets = await world.opened()
    await fleets.add(ORDER)
    await fleets.add(FleetOrder(address="docker"))
    world.hurt = NAME
    await fleets.end(take_down=False)
    assert {name for what, name in world.life if what == "close"} == {"local", NAME, "docker"}
    assert world.life[-1] == ("close", "local"), "the first one last"
    await fleets.end(take_down=True)
    assert ("take_down", "local") not in world.life, "once is enough"


async def test_the_shutdown_of_a_further_fleet_is_its_own(world: World, fleets: Fleets) -> None:
    await fleets.add(ORDER)
    fleets.named(NAME).surface.shutdown()
    await until(lambda: world.life[-1] == ("take_down", NAME))
    assert len(fleets.infos()) == 1
    assert world.down == 0
    fleets.first.surface.shutdown()
    assert world.down == 1


async def test_a_list_that_cannot_be_understood_is_said_and_kept_aside(world: World) -> None:
    world.paths.fleets_file.write_text("[{")
    fleets = await world.opened()
    assert [kind for kind, _ in world.parts("local").events] == ["fleets.unreadable"]
    assert world.paths.fleets_file.with_name("fleets.json.unreadable").read_text() == "[{"
    await fleets.add(ORDER)
    assert len(read_known(world.paths.fleets_file)) == 1
    await fleets.end(take_down=False)


async def test_a_fleet_of_an_address_can_be_the_first_and_is_remembered(world: World) -> None:
    known = KnownFleet(name=NAME, slug="shop", address=NAME)
    fleets = world.fleets(known)
    await fleets.open_first()
    fleets.open_others()
    assert [info.name for info in fleets.infos()] == [NAME]
    assert world.parts(NAME).paths == world.paths.of_fleet("shop")
    assert read_known(world.paths.fleets_file) == [known]
    await fleets.add(FleetOrder(address="local"))
    assert world.parts("local").paths == world.paths, "the state directory's own"
    assert read_known(world.paths.fleets_file) == [known], "that one needs no entry"
    await fleets.end(take_down=False)


async def test_nobody_changes_what_was_added_to_be_looked_at(world: World, fleets: Fleets) -> None:
    await fleets.add(msgspec.structs.replace(ORDER, read_only=True))
    request = ActionRequest(verb=Verb.SCALE, target="llm", args={"replicas": 1}, actor="cli:ada")
    await fleets.named(NAME).surface.perform(request)
    assert [asked.actor for asked in world.parts(NAME).gateway.asked] == ["read-only:cli:ada"]


async def test_routes_lead_to_the_fleet_whose_name_they_carry(world: World, fleets: Fleets) -> None:
    await fleets.add(ORDER)
    transport = httpx.ASGITransport(daemon_app(fleets))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:

        async def fleet_at(url: str) -> str:
            answer = await http.get(url)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["fleet"])

        assert await fleet_at("/v1/snapshot") == "local"
        assert await fleet_at("/v1/fleets/local/snapshot") == "local"
        assert await fleet_at("/v1/fleets/k8s%3Aprod%2Fshop/snapshot") == NAME
        assert [info["name"] for info in (await http.get("/v1/fleets")).json()] == ["local", NAME]
        unknown = await http.get("/v1/fleets/locl/snapshot")
        assert (unknown.status_code, unknown.json()["next_step"]) == (400, "Did you mean local?")
        assert (await http.delete("/v1/fleets/local")).status_code == 409
        assert (await http.put("/v1/fleets")).status_code == 400
        assert (await http.post("/v1/fleets", content=b"{")).status_code == 400
        assert (await http.get("/v1/fleets/local/nothing")).status_code == 404
        added = await http.post("/v1/fleets", content=msgspec.json.encode(FleetOrder(address="docker")))
        assert added.json()["name"] == "docker"
        world.troubles["docker"] = [TrinityError("no.", "mend.")] * 1000
        assert (await http.delete("/v1/fleets/docker?down=1")).status_code == 200
        assert world.life[-1] == ("take_down", "docker")


async def test_a_fleet_that_is_not_open_answers_with_its_trouble(world: World) -> None:
    before = await world.opened()
    await before.add(ORDER)
    await before.end(take_down=False)
    world.troubles[NAME] = [TrinityError("no port.", "mend.")] * 10_000
    fleets = await world.opened()
    transport = httpx.ASGITransport(daemon_app(fleets))
    await until(lambda: fleets.infos()[1].health == "down")
    assert fleets.infos()[1].health_reason == "no port. mend."
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        answer = await http.get("/v1/fleets/k8s%3Aprod%2Fshop/snapshot")
    assert answer.status_code == 503
    assert answer.json()["message"] == f"{NAME} is not open: no port."
    await fleets.end(take_down=False)


async def test_a_directory_that_another_daemon_holds_is_left_alone(world: World, fleets: Fleets) -> None:
    await fleets.add(ORDER)
    other = world.fleets()
    await other.open_first()
    with pytest.raises(TrinityError, match="already runs"):
        await other.add(ORDER)
    assert [info.name for info in other.infos()] == ["local"]
    await other.end(take_down=False)
