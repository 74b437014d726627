"""The one way to the API server: where it is, who we are there, requests, streams and websockets, all counted.

Built on `kubernetes.aio`'s configuration and connections, which are imported when the first cluster is opened, not
before. Renews credentials before they end, and once more when they are refused. Knows no kind of object; decodes
nothing but failures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from backend.config.fleet_file import KubernetesFile
from backend.contract.clock import Clock
from backend.contract.errors import TrinityError, Unreachable
from backend.fleet.kube import answers, kubeconfig
from backend.fleet.kube.answers import NotAccepted
from backend.fleet.kube.links import Link, end_with_connection, open_link
from backend.version import VERSION

Query = Mapping[str, object] | Sequence[tuple[str, object]]
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
CONNECT_S: Final = 8.0
ANSWER_S: Final = 30.0
_EARLY_S: Final = 30.0
"""Credentials are renewed so long before their end."""
_RETIRED: Final = 3
"""Former links that are kept open: a watch lasts for minutes, so the oldest has no stream any more."""
_RENEW_GAP_S: Final = 5.0
"""Between two tries of a renewal that gave nothing new."""


class Access:
    """One context's API server. Use `request` and its kin from the loop; they connect by themselves.

    Everything raises ApiError (the server said no), NotAccepted (credentials), Unreachable (the network) or UsageError
    (what is configured cannot be used), each a sentence and a remedy.
    """

    def __init__(
        self,
        settings: KubernetesFile,
        clock: Clock,
        *,
        env: Mapping[str, str] | None = None,
        home: Path | None = None,
        service_account: Path = kubeconfig.SERVICE_ACCOUNT,
        rng: random.Random | None = None,
    ) -> None:
        self._settings, self._clock = settings, clock
        self._env = os.environ if env is None else env
        self._home = home or Path.home()
        self._service_account = service_account
        self.rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._link: Link | None = None
        self._retired: list[Link] = []
        """With former credentials: their streams go on until they end by themselves."""
        self._closed = False
        self._lock = asyncio.Lock()
        self._tried_mono = float("-inf")
        self._reached = asyncio.Event()
        self._reached.set()
        self.requests: Counter[str] = Counter()
        """How often each was asked: `list pods`, `watch pods`, `GET /version`, ..."""

    # -- what it is

    @property
    def choice(self) -> kubeconfig.Choice | None:
        """What the kubeconfig said; None before it could be read."""
        return None if self._link is None else self._link.choice

    @property
    def context(self) -> str:
        return self._link.choice.context if self._link else self._settings.context or "(current)"

    @property
    def asked_context(self) -> str:
        """The context by its name; empty for the current one before it is known which that is."""
        return self._link.choice.context if self._link else self._settings.context or ""

    def contexts(self) -> tuple[str, ...]:
        """All that the kubeconfig names. Reads files. Raises UsageError where it cannot be read."""
        return kubeconfig.context_names(self._settings.kubeconfig, env=self._env, home=self._home)

    @property
    def server(self) -> str:
        return self._link.choice.server if self._link else ""

    @property
    def user_name(self) -> str:
        return self._link.choice.user_name if self._link else ""

    @property
    def namespace(self) -> str:
        """The one asked for, else the context's."""
        return self._settings.namespace or (self._link.choice.namespace if self._link else "default")

    @property
    def credentials_end_ts(self) -> float | None:
        return self._link.credentials.expires_ts if self._link else None

    # -- life

    async def open(self) -> None:
        """Read the kubeconfig and get credentials; sends nothing to the API server. Idempotent."""
        await self._current()

    async def close(self) -> None:
        self._closed = True
        link, self._link = self._link, None
        for known in (link, *self._retired):
            if known is not None:
                await known.close()
        self._retired.clear()

    # -- asking

    async def request(
        self,
        method: str,
        path: str,
        query: Query = (),
        *,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout_s: float = ANSWER_S,
        label: str = "",
    ) -> bytes:
        """The body of the answer. `body` is anything that JSON can say; `label` is how it is counted."""
        headers = {"Accept": accept} | ({"Content-Type": content_type} if body is not None else {})
        label = label or f"{method} {path}"
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._send(method, path, query, headers, body, timeout_s, label)
                async with response:
                    return bytes(await response.read())
        except TrinityError:
            raise
        except Exception as error:
            raise self._broken(error) from error

    async def get_json(self, path: str, query: Query = (), *, timeout_s: float = ANSWER_S) -> Any:
        """What GET answers, decoded."""
        return self.decode(await self.request("GET", path, query, timeout_s=timeout_s))

    async def send_json(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Query = (),
        content_type: str = "application/json",
        timeout_s: float = ANSWER_S,
    ) -> Any:
        """What POST, PUT, PATCH or DELETE answers, decoded."""
        answer = await self.request(method, path, query, body=body, content_type=content_type, timeout_s=timeout_s)
        return self.decode(answer)

    def decode(self, answer: bytes) -> Any:
        """JSON as dicts and lists. Raises Unreachable for what is none: then something else answered."""
        try:
            return msgspec.json.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreachable(
                f"What answers at {self.server} is no Kubernetes API server: {error}.", "Check `server` or the proxy."
            ) from error

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Query = (), *, label: str = "", accept: str = "application/json", method: str = "GET"
    ) -> AsyncIterator[Any]:
        """An answer that goes on: gives aiohttp's response, its status 200; read its `content`. Closed at the end.

        Raises what `request` does until it begins. What reading raises later is the caller's (see `broken`)."""
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        try:
            async with asyncio.timeout(ANSWER_S):
                response = await self._send(method, path, query, headers, None, None, label or f"{method} {path}")
        except TrinityError:
            raise
        except Exception as error:
            raise self._broken(error) from error
        try:
            yield response
        finally:
            response.close()

    async def websocket(
        self,
        path: str,
        query: Query = (),
        *,
        protocols: Sequence[str] = (),
        label: str = "",
        timeout_s: float = ANSWER_S,
    ) -> Any:
        """aiohttp's ClientWebSocketResponse, for exec and port forwards. The caller closes it."""
        import aiohttp

        label = label or f"CONNECT {path}"
        try:
            async with asyncio.timeout(timeout_s):
                for second in (False, True):
                    link = await self._current()
                    session = self._session(link)
                    headers = await self._headers(link, "GET", path, {})
                    self.requests[label] += 1
                    try:
                        found = await session.ws_connect(
                            _url(link, path, query),
                            protocols=tuple(protocols),
                            headers=headers,
                            max_msg_size=0,
                            proxy=link.api.rest_client.proxy,
                            server_hostname=link.api.configuration.tls_server_name,
                            autoping=True,
                        )
                    except aiohttp.WSServerHandshakeError as error:
                        if error.status == 401 and not second and await self._renewed(link.generation):
                            continue
                        raise answers.api_error(error.status, b"") from error
                    self._reached.set()
                    return found
        except TrinityError:
            raise
        except Exception as error:
            raise self._broken(error) from error
        raise AssertionError("a second try returns or raises")

    def broken(self, error: BaseException) -> TrinityError:
        """What a failure while reading a stream means."""
        return error if isinstance(error, TrinityError) else self._broken(error)

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until the API server, which did not answer or did not know us, answers somebody again."""
        if self._reached.is_set():
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reached.wait()
        # Not all at once.
        await asyncio.sleep(min(0.2, seconds) * self.rng.random())

    # -- how

    async def _send(
        self,
        method: str,
        path: str,
        query: Query,
        headers: dict[str, str],
        body: object,
        total_s: float | None,
        label: str,
    ) -> Any:
        """aiohttp's response, its status below 400. Tries once more with new credentials after a 401."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=total_s, connect=CONNECT_S, sock_connect=CONNECT_S)
        for second in (False, True):
            link = await self._current()
            signed = await self._headers(link, method, path, headers)
            self.requests[label] += 1
            answer = await link.api.rest_client.request(
                method, _url(link, path, query), headers=signed, body=body, _request_timeout=timeout
            )
            response = answer.response
            if response.status < 500 and response.status != 401:
                self._reached.set()
            if response.status < 400:
                end_with_connection(response)
                return response
            async with response:
                found = answers.api_error(response.status, await response.read(), response.headers.get("Retry-After"))
            if response.status != 401:
                raise found
            if second or not await self._renewed(link.generation):
                self._reached.clear()
                raise self._not_accepted(link)
        raise AssertionError("a second try returns or raises")

    async def _headers(self, link: Link, method: str, path: str, headers: Mapping[str, str]) -> dict[str, str]:
        signed = {"User-Agent": f"trinity/{VERSION}", **headers}
        await link.api.update_params_for_auth(signed, [], ["BearerToken"], path, method, None)
        return signed

    def _session(self, link: Link) -> Any:
        rest = link.api.rest_client
        if rest.pool_manager is None:
            rest.pool_manager = rest._create_pool_manager()
        return rest.pool_manager

    def _broken(self, error: BaseException) -> TrinityError:
        found = answers.network_error(error, self.server or "the configured address")
        if isinstance(found, Unreachable):
            self._reached.clear()
            link = self._link
            if link is not None and link.credentials.certificate and self._over(link):
                # So servers end a connection whose client certificate they do not take.
                return self._not_accepted(link)
        return found

    def _not_accepted(self, link: Link) -> NotAccepted:
        """Why the credentials of `link` were refused, as far as they tell themselves."""
        user, context, found = link.choice.user_name, link.choice.context, link.credentials
        again = f"{link.choice.source} is read again by itself."
        if found.expires_ts is not None and self._over(link):
            what = "token" if found.token else "client certificate"
            when = _day(found.expires_ts)
            return NotAccepted(f"The {what} of {user} (context {context}) expired {when}.", f"Renew it; {again}")
        if not found.token and not found.certificate:
            words = f"Context {context} has no credentials, and the API server asks for some."
            return NotAccepted(words, f"Add a user to it, or log in; {again}")
        return NotAccepted(
            f"The API server does not accept the credentials of {user} (context {context}).", f"Log in again; {again}"
        )

    def _over(self, link: Link) -> bool:
        expires = link.credentials.expires_ts
        return expires is not None and expires <= self._clock.now()

    # -- credentials

    async def _current(self) -> Link:
        """The link to use now: made at first, made anew shortly before its credentials end."""
        link = self._link
        if link is not None and not self._ends_soon(link):
            return link
        async with self._lock:
            link = self._link
            if link is None:
                self._link = await self._connect(1)
                return self._link
            if self._ends_soon(link) and self._may_try():
                with contextlib.suppress(NotAccepted, OSError):
                    await self._replace(link)
            return self._link or link

    def _ends_soon(self, link: Link) -> bool:
        expires = link.credentials.expires_ts
        return expires is not None and expires - _EARLY_S <= self._clock.now() and self._may_try()

    def _may_try(self) -> bool:
        return self._clock.mono() - self._tried_mono >= _RENEW_GAP_S

    async def _renewed(self, refused: int) -> bool:
        """Whether there are other credentials now than those of generation `refused`. Raises what getting them does."""
        async with self._lock:
            link = self._link
            if link is None or link.generation != refused:
                return link is not None
            return self._may_try() and await self._replace(link)

    async def _replace(self, link: Link) -> bool:
        """Read everything again; a new link where it says something new."""
        self._tried_mono = self._clock.mono()
        fresh = await self._connect(link.generation + 1, link)
        if fresh.choice == link.choice and fresh.credentials.same_as(link.credentials) and fresh.loader is None:
            await fresh.close()
            return False
        self._link = fresh
        self._tried_mono = float("-inf")
        self._retired.append(link)
        while len(self._retired) > _RETIRED:
            await self._retired.pop(0).close()
        return True

    async def _connect(self, generation: int, former: Link | None = None) -> Link:
        """A link by what the kubeconfig says now. Raises UsageError, NotAccepted."""
        if self._closed:
            raise Unreachable("The fleet was closed.")
        choice = await asyncio.to_thread(
            kubeconfig.choose,
            self._settings.kubeconfig,
            self._settings.context,
            env=self._env,
            home=self._home,
            service_account=self._service_account,
        )
        return await open_link(choice, generation, former, service_account=self._service_account, env=self._env)


def _url(link: Link, path: str, query: Query) -> str:
    pairs = query.items() if isinstance(query, Mapping) else query
    text = urlencode([(name, _text(value)) for name, value in pairs if value is not None])
    return f"{link.choice.server}{path}" + (f"?{text}" if text else "")


def _text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _day(ts: float) -> str:
    from datetime import UTC, datetime

    return f"on {datetime.fromtimestamp(ts, UTC):%Y-%m-%d at %H:%M} UTC"
