"""What can go wrong between us and a Docker engine, as one sentence each with its remedy.

Owns the reading of exceptions of the SDK and of HTTP clients. Never connects.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from backend.contract.errors import Refused, TrinityError, Unreachable, UsageError
from backend.contract.platform import Trouble

if TYPE_CHECKING:
    from backend.fleet.docker_engine.contexts import Endpoint

Kind = Literal["unreachable", "unauthorized", "forbidden", "not-found", "misconfigured"]
_START = "Start it (`systemctl start docker`, or Docker Desktop), or name another with DOCKER_HOST or a context."


class EngineTrouble(Unreachable):
    """The engine cannot be used at all now: `trouble` says of which kind that is."""

    def __init__(self, trouble: Kind, message: str, next_step: str) -> None:
        super().__init__(message, next_step)
        self.trouble: Kind = trouble

    def as_trouble(self, since_ts: float) -> Trouble:
        """For a snapshot."""
        return Trouble(kind=self.trouble, message=self.message, next_step=self.next_step, since_ts=since_ts)


class NotThere(UsageError):
    """The engine knows no such container, image, service or network."""


class Conflict(Refused):
    """The engine cannot do that to the thing as it is now."""


def explain(error: BaseException, endpoint: Endpoint, *, timeout_s: float = 0.0) -> TrinityError:
    """The failure as a TrinityError: EngineTrouble where the engine cannot be used, else what it answered."""
    if isinstance(error, TrinityError):
        return error
    chain = list(_causes(error))
    answer = _answer(chain)
    if answer is not None:
        return _explain_answer(*answer, endpoint)
    for cause in chain:
        if isinstance(cause, ssl.SSLError) or "TLSParameterError" in type(cause).__name__:
            return _explain_tls(str(cause), endpoint)
        if isinstance(cause, socket.gaierror):
            return EngineTrouble(
                "unreachable",
                f"The Docker engine's machine {endpoint.address} cannot be found: no such host name.",
                f"Mend the address of context `{endpoint.context}` (or DOCKER_HOST), or the network.",
            )
    text = " ".join(str(cause) for cause in chain)
    if "CERTIFICATE" in text or "certificate" in text or "[SSL" in text:
        return _explain_tls(text, endpoint)
    if any(isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__ for cause in chain):
        after = f" (no answer in {timeout_s:g} s)" if timeout_s else ""
        return EngineTrouble(
            "unreachable",
            f"The Docker engine at {endpoint.host} does not answer{after}.",
            "See whether it hangs (`systemctl status docker`, its log), and restart it where it does.",
        )
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno is not None:
            return _explain_errno(cause.errno, endpoint)
    if "version" in text and ("no longer supported" in text or "too old" in text or "too new" in text):
        return EngineTrouble(
            "misconfigured", f"The Docker engine at {endpoint.host} is too old: {text}.", "Update Docker there."
        )
    return EngineTrouble(
        "unreachable",
        f"The Docker engine at {endpoint.host} broke off: {_plain(error)}.",
        "It is tried again by itself. If this stays, see the engine's log.",
    )


def refusal_of(status: int, said: str, endpoint: Endpoint) -> TrinityError:
    """What an answer with status >= 400 means; `said` is the engine's own message."""
    return _explain_answer(status, said, endpoint)


def _explain_answer(status: int, said: str, endpoint: Endpoint) -> TrinityError:
    said = said.strip().rstrip(".") or f"status {status}"
    if status == 400 and "HTTP request to an HTTPS server" in said:
        return EngineTrouble(
            "misconfigured",
            f"The Docker engine at {endpoint.host} wants TLS, and is spoken to without it.",
            "Set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or store the certificates in the context.",
        )
    if status == 401:
        return EngineTrouble(
            "unauthorized",
            f"The Docker engine at {endpoint.host} does not know you: {said}.",
            "Use a client certificate (or account) that it accepts.",
        )
    if status == 403:
        return Refused(f"The Docker engine forbids it: {said}.", "Ask who runs the engine for that right.")
    if status == 404:
        return NotThere(f"The Docker engine knows no such thing: {said}.", "It may be gone by now; see `trinity ps`.")
    if status in (304, 409):
        return Conflict(f"The Docker engine refuses: {said}.", "Wait until what is under way has ended, or see why.")
    if status == 503 and "swarm" in said.lower():
        return Refused("This engine is no Swarm manager.", "Ask a manager, or `docker swarm init` here.")
    if status in (502, 504):
        return EngineTrouble(
            "unreachable", f"The Docker engine at {endpoint.host} is not up: {said}.", "It is tried again by itself."
        )
    if status in (400, 422):
        return UsageError(f"The Docker engine does not take that: {said}.", "Change what the sentence names.")
    return TrinityError(f"The Docker engine could not do it: {said}.", "See the engine's log for more.")


def _explain_errno(number: int, endpoint: Endpoint) -> EngineTrouble:
    path = endpoint.socket_path
    if path is not None and number in (errno.ENOENT, errno.ENOTDIR):
        return EngineTrouble("unreachable", f"There is no Docker engine here: no socket at {path}.", _START)
    if path is not None and number in (errno.EACCES, errno.EPERM):
        return EngineTrouble(
            "forbidden",
            f"You may not use the Docker socket {path}: permission denied.",
            f"Join its group (`sudo usermod -aG {_group_of(path)} $USER`, then log in anew), or use an engine of "
            "your own (rootless Docker).",
        )
    if number == errno.ECONNREFUSED:
        where = f"the socket {path}" if path is not None else endpoint.host
        return EngineTrouble("unreachable", f"The Docker engine is not running: nobody answers at {where}.", _START)
    if path is not None and number == errno.ENOTSOCK:
        return EngineTrouble("misconfigured", f"{path} is no socket.", "Name the engine's socket in DOCKER_HOST.")
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT):
        return EngineTrouble(
            "unreachable",
            f"The Docker engine's machine {endpoint.address} cannot be reached: {os.strerror(number).lower()}.",
            "Mend the network or the VPN, or name another engine.",
        )
    return EngineTrouble(
        "unreachable",
        f"The connection to the Docker engine at {endpoint.host} broke: {os.strerror(number).lower()}.",
        "It is tried again by itself. If this stays, see the engine's log.",
    )


def _explain_tls(text: str, endpoint: Endpoint) -> EngineTrouble:
    where = f"The Docker engine at {endpoint.host}"
    lower = text.lower()
    if "expired" in lower and "alert" not in lower:
        return EngineTrouble(
            "misconfigured", f"{where} shows a certificate that has expired.", "Have it renewed by who runs the engine."
        )
    if "hostname mismatch" in lower or "ip address mismatch" in lower or "doesn't match" in lower:
        return EngineTrouble(
            "misconfigured",
            f"{where} shows a certificate for another name.",
            "Use the name that its certificate is for, or have one issued for this name.",
        )
    if "verify failed" in lower or "self-signed" in lower or "self signed" in lower:
        return EngineTrouble(
            "misconfigured",
            f"{where} shows a certificate that our CA did not sign.",
            "Put the CA that signed it into the context (or DOCKER_CERT_PATH/ca.pem).",
        )
    if "alert" in lower or "certificate required" in lower or "handshake failure" in lower:
        return EngineTrouble(
            "unauthorized",
            f"{where} does not accept our client certificate.",
            "Use one that is valid and signed by its CA (cert.pem and key.pem of the context or DOCKER_CERT_PATH).",
        )
    if "wrong version number" in lower or "record layer" in lower or "unknown protocol" in lower:
        return EngineTrouble(
            "misconfigured",
            f"{where} speaks no TLS, and is spoken to with it.",
            "Unset DOCKER_TLS_VERIFY (or take the certificates out of the context), or name its TLS port.",
        )
    if "eof occurred" in lower or "connection reset" in lower:
        return EngineTrouble(
            "unreachable",
            f"{where} breaks off before a secure connection stands.",
            "See its log: it may want another client certificate, or something else listens there.",
        )
    return EngineTrouble(
        "misconfigured",
        f"The certificates for the Docker engine at {endpoint.host} cannot be used: {text[:160]}.",
        "Check ca.pem, cert.pem and key.pem of the context (or DOCKER_CERT_PATH).",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps, outermost first. Clients hide causes in `args` and `reason` too."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting and len(seen) < 64:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        inner += getattr(current, "exceptions", ())
        waiting.extend(item for item in inner if isinstance(item, BaseException))


def _answer(chain: list[BaseException]) -> tuple[int, str] | None:
    """Status and message where the engine did answer."""
    for cause in chain:
        response = getattr(cause, "response", None)
        status = getattr(response, "status_code", None)
        if isinstance(status, int) and status:
            said = getattr(cause, "explanation", None)
            if not said:
                with contextlib.suppress(Exception):  # a stream's body may be unread or gone
                    said = getattr(response, "text", "")
            return status, str(said or "")
    return None


def _group_of(path: str) -> str:
    try:
        import grp

        return grp.getgrgid(os.stat(path).st_gid).gr_name  # noqa: PTH116 - its group, not through a Path
    except (OSError, KeyError, ImportError):
        return "docker"


def _plain(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().rstrip(".")[:200]
