"""One emulated cluster: puts the parts together, listens, and gives tests one object to order everything from."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from tests.kube_emulator.access import EVERYTHING, Access, Rule
from tests.kube_emulator.api import Api
from tests.kube_emulator.budgets import refresh
from tests.kube_emulator.controller import Controllers
from tests.kube_emulator.events import Recorder
from tests.kube_emulator.faults import Faults
from tests.kube_emulator.kubeconfig import Context, Login, write_kubeconfig
from tests.kube_emulator.kubelet import Kubelet
from tests.kube_emulator.logs import Logs
from tests.kube_emulator.metrics import Metrics
from tests.kube_emulator.programs import Programs
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.requests import Counts
from tests.kube_emulator.scenes import node
from tests.kube_emulator.service_accounts import ServiceAccounts
from tests.kube_emulator.store import Change, Object, Store
from tests.kube_emulator.streams import Streams
from tests.kube_emulator.subresources import Subresources
from tests.kube_emulator.watch import Watches

ADMIN_TOKEN = "admin-token"
"""Of the account `admin`, which may do everything."""


class Emulator:
    """A Kubernetes API server on a loopback port. `async with Emulator() as cluster:` starts and stops it."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        history: int = 20_000,
        bookmark_every_s: float = 60.0,
        tls: ssl.SSLContext | None = None,
        authority: Path | None = None,
        namespaces: tuple[str, ...] = ("default", "kube-system"),
        nodes: int = 0,
        controller: bool = False,
        speed: float = 60.0,
        deadline_speed: float | None = None,
        start_s: float = 1.0,
        stop_s: float = 1.0,
    ) -> None:
        """`controller`: deployments make pods, pods live, on `nodes` nodes (`node-1`, …). `speed` compresses every wait
        of the cluster: at 60 a minute lasts a second. `start_s` and `stop_s`: of a pod, before compression.
        `deadline_speed`: that of deadlines, which a machine that stands still must not let pass."""
        self._host, self.port, self._tls, self._authority = host, port, tls, authority
        self.store = Store(history=history)
        self.registry = Registry(self.store)
        self.access = Access()
        self.access.add("admin", token=ADMIN_TOKEN)
        self.faults = Faults()
        self.counts = Counts()
        self.watches = Watches(self.store, bookmark_every_s=bookmark_every_s)
        self.logs = Logs()
        self.api = Api(self.registry, self.access, self.faults, self.counts, self.watches, lambda: self.metrics.on)
        self.subresources = Subresources(self.api, self.logs)
        self.streams = Streams(self.api, self.logs)
        self.service_accounts = ServiceAccounts(self.api, self.access)
        self.metrics = Metrics(self.api)
        self.recorder = Recorder(self.registry)
        self.kubelet = Kubelet(self.registry, self.recorder, self.logs, speed=speed, start_s=start_s, stop_s=stop_s)
        self.controllers = Controllers(self.registry, self.recorder, speed=speed, deadline_speed=deadline_speed)
        self._controlled = controller
        if not controller:
            self.store.listen(self._keep_budgets)
        self.streams.real_address = self.kubelet.real_address
        self.programs.signal = self.kubelet.signal
        self.metrics.measured = self.kubelet.measured
        for namespace in namespaces:
            self.registry.create("Namespace", {"metadata": {"name": namespace}})
        for number in range(1, nodes + 1):
            self.registry.seed("Node", node(f"node-{number}"))
        self._server: asyncio.Server | None = None
        self._protocols: web.Server | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}"

    @property
    def programs(self) -> Programs:
        return self.streams.programs

    async def start(self) -> None:
        """Listen; again on the same port after `stop_listening`."""
        self._protocols = web.Server(self.api.handle, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocols, self._host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """The API server is gone: connections break, new ones are refused. The cluster itself lives on."""
        server, self._server = self._server, None
        protocols, self._protocols = self._protocols, None
        if server is not None:
            server.close()
        if protocols is not None:
            for connection in list(protocols.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            with contextlib.suppress(TimeoutError):
                await protocols.shutdown(0.05)
        if server is not None:
            await server.wait_closed()

    async def stop(self) -> None:
        """The end of everything, real processes included. Idempotent."""
        self.faults.clear()
        self.controllers.stop()
        await self.kubelet.stop()
        await self.stop_listening()

    async def __aenter__(self) -> Emulator:
        await self.start()
        if self._controlled:
            self.kubelet.start()
            self.controllers.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if kind is None:
            for failure in self.controllers.failures + self.kubelet.failures:
                raise failure

    def _keep_budgets(self, change: Change) -> None:
        """Budgets are minded even where nothing else is."""
        if change.table in ("pods", "poddisruptionbudgets.policy"):
            refresh(self.registry, change.after.key[0])

    # scenes

    def add(self, kind: str, obj: Mapping[str, Any], *, namespace: str = "") -> Object:
        """Put an object there, status and all."""
        return self.registry.seed(kind, obj, namespace=namespace).obj

    def account(
        self, name: str, token: str, rules: tuple[Rule, ...] = EVERYTHING, *, expires_at: float | None = None
    ) -> None:
        """Someone who may log in with that token."""
        self.access.add(name, token=token, rules=rules, expires_at=expires_at)

    def context(self, name: str = "emulator", *, login: Login | None = None, namespace: str = "") -> Context:
        """A kubeconfig context that leads here."""
        return Context(name, self.url, login or Login(token=ADMIN_TOKEN), namespace, self._authority)

    def write_kubeconfig(self, path: Path, *, namespace: str = "", token: str = ADMIN_TOKEN) -> Path:
        """A kubeconfig with one context, `emulator`."""
        return write_kubeconfig(path, self.context(login=Login(token=token), namespace=namespace))

    def forget_history(self) -> None:
        """Nothing can be resumed from a version before now (410)."""
        self.store.forget()
