"""Our own logs: structlog in three profiles, each line carrying the correlation id of its context.

`development` is human and DEBUG, `production` JSON and INFO (rotated at 10 MB x 5), `testing` WARNING.
`LOG_LEVEL` and `LOG_FORMAT` override. Owns nothing of the replicas' output, which is the shims'.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path
from typing import Literal

from backend.contract.errors import UsageError
from backend.lean import absent

with absent("rich"):
    import structlog

Profile = Literal["development", "production", "testing"]
_LEVELS: dict[str, str] = {"development": "DEBUG", "production": "INFO", "testing": "WARNING"}
_MAX_BYTES = 10_000_000
_BACKUPS = 5


def configure(profile: Profile, *, level: str = "", log_format: str = "", file: Path | None = None) -> None:
    """Send structlog's and the standard library's records to `file` (rotated), or to stderr when None.

    Raises UsageError for a level that does not exist.
    """
    wanted = (level or _LEVELS[profile]).upper()
    if wanted not in logging.getLevelNamesMapping():
        raise UsageError(f"LOG_LEVEL={level} is no level.", "Use DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    as_json = (log_format or ("console" if profile == "development" else "json")) == "json"
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(file, maxBytes=_MAX_BYTES, backupCount=_BACKUPS)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(wanted)
    for chatty in ("httpx", "httpcore", "uvicorn.access", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of ours; configure() decides where its lines go."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def bind_correlation(correlation_id: str) -> None:
    """Every line logged from here on in this context carries this id, and nothing of an earlier one."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(correlation_id=correlation_id)
