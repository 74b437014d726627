"""Error bodies of the OpenAI shape. Owns which status has which `type`; sends nothing."""

from __future__ import annotations

from typing import Final

import msgspec

from backend.openai_wire.messages import ErrorDetail, ErrorResponse

ERROR_TYPES: Final[dict[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_body(status: int, message: str, *, code: str | None = None, param: str | None = None) -> bytes:
    """JSON bytes for an answer with this HTTP status; other statuses are a `server_error` (an unknown 4xx the
    caller's)."""
    fallback = "invalid_request_error" if 400 <= status < 500 else "server_error"
    kind = ERROR_TYPES.get(status, fallback)
    return msgspec.json.encode(
        ErrorResponse(error=ErrorDetail(message=message, type=kind, param=param, code=code or kind))
    )
