"""The routes about several fleets, over the routes of each.

| route | what |
|---|---|
| GET, POST /v1/fleets | the fleets of this daemon; look after one more (FleetOrder) |
| DELETE /v1/fleets/{name}?down= | forget one; with `down=1` take it down too |
| any /v1/fleets/{name}/… | the route /v1/… of that fleet; a name is percent-encoded (`k8s%3Aprod%2Fshop`) |
| any other | that route of the first fleet |
"""

from __future__ import annotations

import urllib.parse

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.contract.control import FleetOrder
from backend.contract.errors import UsageError
from backend.daemon.api import answer_json, guarded, read_body
from backend.daemon.fleets import Fleets

_ROOT = ["", "v1", "fleets"]


def daemon_app(fleets: Fleets) -> ASGIApp:
    """The ASGI application of a daemon's control socket."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        segments = raw.decode("latin-1").split("/")
        if segments[:3] != _ROOT:
            await fleets.first.app(scope, receive, send)
            return
        name = urllib.parse.unquote(segments[3]) if len(segments) > 3 else ""
        if len(segments) > 4:
            rest = "/v1/" + "/".join(segments[4:])
            scope = {**scope, "path": urllib.parse.unquote(rest), "raw_path": rest.encode("latin-1")}
            inner = await _inner(fleets, name, scope, receive)
            await inner(scope, receive, send)
            return
        answer = await guarded(lambda request: _about_fleets(fleets, name, request))(Request(scope, receive))
        await answer(scope, receive, send)

    return app


async def _inner(fleets: Fleets, name: str, scope: Scope, receive: Receive) -> ASGIApp:
    """The application of that fleet, or the answer that says why there is none."""
    found: list[ASGIApp] = []

    async def look(_: Request) -> Response:
        found.append(fleets.named(name).app)
        return Response()

    answer = await guarded(look)(Request(scope, receive))
    return found[0] if found else answer


async def _about_fleets(fleets: Fleets, name: str, request: Request) -> Response:
    if not name and request.method == "GET":
        return answer_json(fleets.infos())
    if not name and request.method == "POST":
        return answer_json(await fleets.add(await read_body(request, FleetOrder)))
    if name and request.method == "DELETE":
        await fleets.forget(name, take_down=request.query_params.get("down", "0") == "1")
        return answer_json({})
    raise UsageError(f"{request.method} {request.url.path} is no route.", "See the routes of the control API.")
