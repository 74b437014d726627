"""What went wrong with a request, as named errors and as one `Trouble` for the screen. Pure; sends nothing.

An API server answers failures with a Status object; whatever else comes (a proxy's page, nothing at all) is worded
here too.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final

import msgspec

from backend.contract.errors import Refused, TrinityError, Unreachable, UsageError
from backend.contract.platform import Trouble

_MAX_CHARS: Final = 400
_CUT: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""A connection that was cut in the middle of TLS: nothing is wrong with anybody's certificates."""


class Misconfigured(UsageError):
    """A kubeconfig or a certificate that cannot be used as it is."""


class NotAccepted(Refused):
    """No valid credentials (401, or a plugin that gives none)."""

    kind = "refused"


class ApiError(TrinityError):
    """The API server answered with a failure. `reason` is its word (`NotFound`, `Forbidden`, `Expired`, ...)."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        next_step: str = "",
        *,
        retry_after_s: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, next_step)
        self.status, self.reason, self.retry_after_s, self.details = status, reason, retry_after_s, details or {}


class Status(msgspec.Struct, frozen=True):
    """The API's own description of a failure."""

    code: int | None = None
    reason: str | None = None
    message: str | None = None
    details: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


_STATUS: Final = msgspec.json.Decoder(Status)
_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def api_error(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The error that an answer with `status` >= 400 is. Any body will do."""
    try:
        said = _STATUS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = Status(message=_first_line(body))
    reason = said.reason or _REASONS.get(status, "Failure")
    message = (said.message or f"the API server answered {status} {reason}").strip()[:_MAX_CHARS]
    try:
        retry_after_s = max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        retry_after_s = None
    details = said.details or {}
    if onward := (said.metadata or {}).get("continue"):
        details = {**details, "continue": onward}
    return ApiError(status, reason, message, retry_after_s=retry_after_s, details=details)


def _first_line(body: bytes) -> str | None:
    """Of a body that is no Status: what a person may make something of. Pages are not shown."""
    text = body[:_MAX_CHARS].decode("utf-8", "replace").strip()
    line = text.splitlines()[0].strip() if text else ""
    return None if not line or line.startswith("<") else line


def network_error(error: BaseException, server: str) -> TrinityError:
    """What a person is told of a failure below HTTP. `error` is what the HTTP client raised."""
    cause = _certificate_problem(error)
    if cause is not None:
        return cause(server)
    where = f"the API server at {server}"
    if isinstance(error, TimeoutError):
        return Unreachable(f"{where[0].upper()}{where[1:]} does not answer in time.", _reach(server))
    words = type(error).__name__ if not str(error) else str(error)
    text = words.lower()
    if "name or service not known" in text or "dns" in type(error).__name__.lower() or "name resolution" in text:
        return Unreachable(f"The name of {where} is not known here.", "Check `server` in the kubeconfig, or the VPN.")
    if isinstance(error, ValueError):
        return Misconfigured(f"A request to {server} cannot be made: {words}.", "Check the context in the kubeconfig.")
    number = getattr(error, "errno", None) or getattr(getattr(error, "os_error", None), "errno", None)
    if number == 111 or "connect call failed" in text or "refused" in text:
        return Unreachable(f"Nothing answers as {where}: connection refused.", _reach(server))
    return Unreachable(f"The connection to {where} broke: {words[:200]}.", _reach(server))


def _reach(server: str) -> str:
    return f"Check that the cluster runs and that this machine reaches {server} (VPN, proxy); it is tried again."


def _certificate_problem(error: BaseException) -> Callable[[str], TrinityError] | None:
    """Who makes the error, where TLS is what failed."""
    found: BaseException | None = error
    for _ in range(6):
        if found is None:
            return None
        if isinstance(found, ssl.SSLError):
            break
        inner = getattr(found, "certificate_error", None) or getattr(found, "os_error", None)
        found = inner if isinstance(inner, BaseException) else (found.__cause__ or found.__context__)
    if not isinstance(found, ssl.SSLError) or isinstance(found, _CUT):
        return None
    text = f"{getattr(found, 'verify_message', '')} {found}".lower()
    if "alert" in text and "expired" in text:
        return lambda server: NotAccepted(
            f"{server} says that our client certificate has expired.",
            "Renew it; the kubeconfig is read again.",
        )
    if "alert" in text and ("certificate" in text or "unknown ca" in text):
        return lambda server: NotAccepted(
            f"{server} does not accept our client certificate.",
            "Check `client-certificate` in the kubeconfig.",
        )
    if "has expired" in text:
        return lambda server: Misconfigured(
            f"The certificate of {server} has expired.", "Renew the API server's certificate (kubeadm certs renew)."
        )
    if isinstance(found, ssl.SSLCertVerificationError):
        why = getattr(found, "verify_message", "") or "it cannot be verified"
        return lambda server: Misconfigured(
            f"The certificate of {server} is not trusted: {why}.",
            "Check `certificate-authority` and `server` of the cluster in the kubeconfig.",
        )
    return lambda server: Misconfigured(
        f"TLS with {server} fails: {getattr(found, 'reason', None) or found}.", "Check `server` in the kubeconfig."
    )


def trouble_of(error: TrinityError, since_ts: float, *, namespace: str, context: str) -> Trouble:
    """What the screen says while `error` keeps pods from being seen."""
    message, next_step = error.message, error.next_step
    if isinstance(error, ApiError):
        kind, message, next_step = _answered(error, namespace, context)
    elif isinstance(error, NotAccepted):
        kind = "unauthorized"
    elif isinstance(error, UsageError):
        kind = "misconfigured"
    else:
        kind = "unreachable"
    return Trouble(kind=kind, message=message, next_step=next_step, since_ts=since_ts)  # type: ignore[arg-type]


def _answered(error: ApiError, namespace: str, context: str) -> tuple[str, str, str]:
    if error.status == 401:
        return (
            "unauthorized",
            f"The API server of context {context} does not accept our credentials.",
            error.next_step or "Log in again, or renew the user's entry; the kubeconfig is read again by itself.",
        )
    if error.status == 403:
        return (
            "forbidden",
            f"Pods of namespace {namespace} may not be seen: {error.message}.",
            f"Ask for a Role with get, list and watch on pods in {namespace}, or name another namespace.",
        )
    if error.status == 404:
        next_step = error.next_step or "Name a namespace that there is, or create it."
        return "not-found", error.message, next_step
    if error.status == 429:
        words = "The API server asks us to wait: it has too many requests."
        return "unreachable", words, "It is tried again; see its priority and fairness settings if this goes on."
    words = f"The API server of context {context} fails: {error.status} {error.reason}: {error.message}"
    return "unreachable", words.rstrip(".") + ".", "See the API server's own logs; it is tried again."
