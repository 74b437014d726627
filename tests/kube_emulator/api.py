"""The HTTP side: reads a request, asks faults, identity and rights, and answers from registry, watches and
subresources. Owns no objects.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml
from aiohttp import web

from tests.kube_emulator.access import Access, Account
from tests.kube_emulator.faults import Aborted, Faults
from tests.kube_emulator.kinds import Kind, discovery
from tests.kube_emulator.patches import APPLY, apply_patch
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.requests import Asked, Counts, asked
from tests.kube_emulator.selectors import field_selector, label_selector
from tests.kube_emulator.status import (
    ApiError,
    bad_request,
    continue_expired,
    expired,
    method_not_allowed,
    no_such_resource,
    success,
    too_large_version,
)
from tests.kube_emulator.store import Object, Stored
from tests.kube_emulator.views import shown_as, stored_form
from tests.kube_emulator.watch import Selection, Watches

COUNTS_PATH = "/emulator/counts"
"""Not of Kubernetes: how often what was asked and how many streams are open, for tests that run the emulator as a
program of its own. Not counted."""
_READ = ("application/json", "application/yaml")
"""Media types of bodies. The real server reads protobuf and CBOR too."""
Subresource = Callable[[web.BaseRequest, Asked, Account], Awaitable[web.StreamResponse]]


@dataclass
class Api:
    """Answers requests. `subresources` and `groups` are added by their own modules."""

    registry: Registry
    access: Access
    faults: Faults
    counts: Counts
    watches: Watches
    metrics_on: Callable[[], bool]
    subresources: dict[str, Subresource] = field(default_factory=dict)
    """`scale`, `log`, … -> who answers."""
    streams_open: Callable[[], int] = lambda: 0
    groups: dict[str, Subresource] = field(default_factory=dict)
    """API groups that are no storage (`metrics.k8s.io`) -> who answers."""
    watch_timeout_s: tuple[float, float] = (1800.0, 3600.0)
    """How long a watch without timeoutSeconds lasts: something between."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, to its end."""
        seen = None
        try:
            if request.path == COUNTS_PATH:
                counted = {" ".join(key): number for key, number in self.counts.by_request.items()}
                return encoded(counted | {"open streams": self.streams_open()})
            what = asked(request.method, request.path, request.query)
            seen = self.counts.note(what, request.path_qs, request.query)
            await self.faults.apply(what, request)
            account = self.access.authenticate(request.headers.get("Authorization", ""), _common_name(request))
            seen.user = account.name
            response = await self._answer(request, what, account)
        except ApiError as error:
            response = error_response(error)
        except Aborted:
            return web.Response(status=500)
        if seen is not None:
            seen.status = response.status
        return response

    async def _answer(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        if what.kind is None:
            return self._document(request.path)
        if what.kind.group == "metrics.k8s.io" and not self.metrics_on():
            return web.Response(status=404, text="404 page not found\n")
        self.access.authorize(account, what)
        if what.kind.group in self.groups:
            return await self.groups[what.kind.group](request, what, account)
        if what.kind.group == "authorization.k8s.io":
            if what.verb != "create":
                raise method_not_allowed()
            return encoded(self.access.review(account, await read_body(request), what.kind.kind), 201)
        if what.subresource:
            if what.subresource not in what.kind.subresources or what.subresource not in self.subresources:
                raise no_such_resource()
            return await self.subresources[what.subresource](request, what, account)
        handler = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self.update,
            "patch": self.patch,
            "delete": self._delete,
            "deletecollection": self._delete_all,
        }[what.verb]
        return await handler(request, what)

    def _document(self, path: str) -> web.Response:
        parts = tuple(part for part in path.split("/") if part)
        if parts in (("healthz",), ("livez",), ("readyz",)):
            return web.Response(text="ok")
        document = discovery(parts, metrics=self.metrics_on())
        if document is None:
            return web.Response(status=404, text="404 page not found\n")
        return encoded(document)

    # reading

    async def _get(self, request: web.BaseRequest, what: Asked) -> web.Response:
        assert what.kind is not None
        return shown(what.kind, self.registry.stored(what.kind, what.namespace, what.name))

    def _selection(self, request: web.BaseRequest, what: Asked) -> Selection:
        kind = what.kind
        assert kind is not None
        labels = label_selector(request.query.get("labelSelector", ""))
        text = request.query.get("fieldSelector", "")
        if kind.group == "events.k8s.io":
            text = text.replace("regarding.", "involvedObject.").replace("reportingController", "reportingComponent")
        fields = field_selector(text, kind.table, kind.api_version, kind.kind)
        return Selection(kind, what.namespace, what.name, labels, fields)

    async def _list(self, request: web.BaseRequest, what: Asked) -> web.Response:
        kind, store, query = what.kind, self.registry.store, request.query
        assert kind is not None
        _check_version_match(query)
        selection = self._selection(request, what)
        limit = _number(query, "limit") or 0
        version, after = store.version, None
        if query.get("continue"):
            if query.get("resourceVersion", "") not in ("", "0"):
                raise bad_request("specifying resource version is not allowed when using continue")
            version, after = _opened(query["continue"])
            if version == 0:
                version = store.version
            elif version < store.floor:
                raise continue_expired(_token(0, after))
        else:
            version = self._listed_version(query)
        if version == store.version:
            place, keys = store.table(kind.table).by_key, store.table(kind.table).keys
        else:
            place = store.snapshot(kind.table, version)
            keys = sorted(place)
        start = bisect_right(keys, after) if after is not None else 0
        items: list[bytes] = []
        onward, remaining, last = "", 0, ("", "")
        for at in range(start, len(keys)):
            stored = place[keys[at]]
            if not selection.has(stored):
                continue
            if limit and len(items) == limit:
                onward = _token(version, last)
                remaining = sum(selection.has(place[key]) for key in keys[at:])
                break
            items.append(stored.bare(kind))
            last = stored.key
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if onward:
            metadata["continue"] = onward
            if not selection.labels and not selection.fields:
                metadata["remainingItemCount"] = remaining
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata}
        body = msgspec.json.encode(head)[:-1] + b',"items":[' + b",".join(items) + b"]}"
        return web.Response(body=body, content_type="application/json")

    def _listed_version(self, query: Mapping[str, str]) -> int:
        """The version a first page shows. Raises ApiError 410, 504."""
        store = self.registry.store
        wanted = _number(query, "resourceVersion")
        if not wanted:
            return store.version
        if wanted > store.version:
            raise too_large_version(wanted, store.version)
        if query.get("resourceVersionMatch") == "Exact":
            if wanted < store.floor:
                raise expired(wanted, store.floor)
            return wanted
        return store.version

    async def _watch(self, request: web.BaseRequest, what: Asked) -> web.StreamResponse:
        query, store = request.query, self.registry.store
        if query.get("sendInitialEvents"):
            raise ApiError(
                422,
                "Invalid",
                'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden '
                "for watch unless the WatchList feature gate is enabled",
            )
        if query.get("resourceVersionMatch"):
            raise _forbidden_option("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        since = _number(query, "resourceVersion") or None
        if since is not None and since > store.version:
            raise too_large_version(since, store.version)
        timeout_s = _number(query, "timeoutSeconds") or random.uniform(*self.watch_timeout_s)
        return await self.watches.serve(
            request,
            self._selection(request, what),
            since=since,
            timeout_s=timeout_s,
            bookmarks=query.get("allowWatchBookmarks", "").lower() in ("1", "true"),
        )

    # writing

    async def _create(self, request: web.BaseRequest, what: Asked) -> web.Response:
        kind = what.kind
        assert kind is not None
        if what.name:
            raise method_not_allowed()
        body = stored_form(kind, await read_body(request))
        if body.get("kind", kind.kind) != kind.kind:
            message = f'{body["kind"]} in version "{kind.version}" cannot be handled as a {kind.kind}'
            raise bad_request(message)
        if request.query.get("dryRun") == "All":
            return encoded(body | {"kind": kind.kind, "apiVersion": kind.api_version}, 201)
        return shown(kind, self.registry.create(kind, body, namespace=what.namespace), 201)

    async def update(self, request: web.BaseRequest, what: Asked) -> web.Response:
        """PUT of an object or of its status."""
        kind = what.kind
        assert kind is not None
        body = stored_form(kind, await read_body(request))
        if "metadata" not in body or not body["metadata"].get("name"):
            raise bad_request("the name of the object (name is empty) does not match the name on the URL")
        stored = self.registry.update(kind, what.namespace, what.name, lambda _: body, subresource=what.subresource)
        return shown(kind, stored)

    async def patch(self, request: web.BaseRequest, what: Asked) -> web.Response:
        """PATCH of an object or of its status."""
        kind = what.kind
        assert kind is not None
        content_type = request.content_type
        body = await read_body(request, content_type)

        def change(obj: Object) -> Object:
            patched = apply_patch(content_type, shown_as(kind, obj), body)
            return stored_form(kind, patched)

        exists = self.registry.store.get(kind.table, what.namespace, what.name) is not None
        if content_type == APPLY and not exists and not what.subresource:
            return shown(kind, self.registry.create(kind, body, namespace=what.namespace), 201)
        return shown(kind, self.registry.update(kind, what.namespace, what.name, change, subresource=what.subresource))

    async def _delete(self, request: web.BaseRequest, what: Asked) -> web.Response:
        kind = what.kind
        assert kind is not None
        stored, gone = self.registry.delete(kind, what.namespace, what.name, await _delete_options(request))
        if gone and kind.kind not in ("Pod", "Namespace"):
            return encoded(success(kind, what.name, stored.uid))
        return shown(kind, stored)

    async def _delete_all(self, request: web.BaseRequest, what: Asked) -> web.Response:
        kind = what.kind
        assert kind is not None
        selection, options = self._selection(request, what), await _delete_options(request)
        chosen = [stored for stored in self.registry.store.all(kind.table, what.namespace) if selection.has(stored)]
        for stored in chosen:
            with contextlib.suppress(ApiError):
                self.registry.delete(kind, *stored.key, options)
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version}
        version = {"resourceVersion": str(self.registry.store.version)}
        items = [msgspec.Raw(stored.bare(kind)) for stored in chosen]
        return encoded(head | {"metadata": version, "items": items})


def _common_name(request: web.BaseRequest) -> str:
    certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
    for part in (certificate or {}).get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return str(value)
    return ""


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        details = {"causes": [{"reason": "FieldValueInvalid", "field": name}]}
        message = f'{name}: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise ApiError(400, "BadRequest", message, details=details)
    return value


def _check_version_match(query: Mapping[str, str]) -> None:
    """Raises ApiError 422 where `resourceVersionMatch` has nothing to match."""
    match = query.get("resourceVersionMatch", "")
    if not match:
        return
    if query.get("continue"):
        raise _forbidden_option("resourceVersionMatch is forbidden when continue is provided")
    if not query.get("resourceVersion"):
        raise _forbidden_option("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match not in ("Exact", "NotOlderThan"):
        raise _forbidden_option(f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""')
    if match == "Exact" and query["resourceVersion"] == "0":
        raise _forbidden_option('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')


def _forbidden_option(why: str) -> ApiError:
    message = f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: {why}'
    return ApiError(422, "Invalid", message)


def _token(version: int, after: tuple[str, str] | None) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": list(after or ())})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _opened(token: str) -> tuple[int, tuple[str, str] | None]:
    try:
        inside = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        start = inside["start"]
        return int(inside["rv"]), (start[0], start[1]) if start else None
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise bad_request("continue key is not valid: illegal base64 data") from error


async def read_body(request: web.BaseRequest, content_type: str = "") -> Any:
    """The JSON (or YAML) of a request. Raises ApiError 400."""
    raw = await request.read()
    if not content_type and request.content_type not in _READ:
        accepted = ", ".join(_READ)
        message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise ApiError(415, "UnsupportedMediaType", message)
    try:
        if content_type == APPLY or request.content_type == "application/yaml":
            return yaml.safe_load(raw)
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, yaml.YAMLError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error


async def _delete_options(request: web.BaseRequest) -> dict[str, Any]:
    options: dict[str, Any] = dict(await read_body(request)) if request.can_read_body else {}
    for name in ("gracePeriodSeconds", "propagationPolicy"):
        if name in request.query and name not in options:
            options[name] = request.query[name]
    if "gracePeriodSeconds" in options and options["gracePeriodSeconds"] is not None:
        options["gracePeriodSeconds"] = int(options["gracePeriodSeconds"])
    return options


def shown(kind: Kind, stored: Stored, status: int = 200) -> web.Response:
    return web.Response(body=stored.whole(kind), content_type="application/json", status=status)


def encoded(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json", status=status)


def error_response(error: ApiError) -> web.Response:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    body = msgspec.json.encode(error.body())
    return web.Response(body=body, status=error.code, content_type="application/json", headers=headers)
