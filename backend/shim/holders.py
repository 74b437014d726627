"""Asking a holder of faults on its own socket, one question a connection. Knows no fault and keeps nothing.

Where there is no event loop, `backend.drills.direct` asks.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from backend.contract.errors import TrinityError
from backend.contract.faults import HolderAnswer, HolderRequest

ANSWER_S: Final = 15.0
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024


async def ask_holder(socket_path: str, request: HolderRequest, *, within_s: float = ANSWER_S) -> HolderAnswer:
    """Its answer. Raises TrinityError where it does not answer within `within_s` seconds, or refuses."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_unix_connection(socket_path, limit=_MAX_ANSWER_BYTES)
            try:
                writer.write(msgspec.json.encode(request) + b"\n")
                while line := await reader.readline():
                    answer = msgspec.json.decode(line, type=HolderAnswer)
                    if answer.id == request.id:
                        break
                else:
                    raise ConnectionError("it closed the connection")
            finally:
                writer.close()
    except (OSError, TimeoutError, msgspec.MsgspecError) as error:
        why = str(error) or f"no answer in {within_s:g} s"
        raise TrinityError(f"The holder of the fault does not answer: {why}.", "See `trinity events`.") from error
    if answer.error:
        raise TrinityError(answer.error, "Nothing was changed.")
    return answer
