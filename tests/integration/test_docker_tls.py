"""What is wrong between us and an engine behind TLS is told apart, each in a sentence with its remedy."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.errors import EngineTrouble
from tests.kube_emulator.certificates import Authority, Pair

_REFUSAL = b"Client sent an HTTP request to an HTTPS server.\n"


@asynccontextmanager
async def listening(context: ssl.SSLContext | None, answer: bytes = b"") -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextmanager
def blocking(context: ssl.SSLContext) -> Iterator[int]:
    """A server that tells a client why it is refused, as engines do; asyncio's breaks off without a word."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5.0)


def served(authority: Authority, pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(authority.pair.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose refusal of a client comes within the handshake
    return context


def folder(base: Path, authority: Authority, client: Pair) -> dict[str, str]:
    """The environment of a user with these certificates."""
    base.mkdir()
    for source, name in ((authority.pair.certificate, "ca"), (client.certificate, "cert"), (client.key, "key")):
        shutil.copy(source, base / f"{name}.pem")
    return {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(base)}


async def trouble(port: int, environ: dict[str, str]) -> EngineTrouble:
    client = EngineClient(environ=environ | {"DOCKER_HOST": f"tcp://127.0.0.1:{port}"}, call_s=60.0)
    try:
        with pytest.raises(EngineTrouble) as found:
            await client.connect()
        return found.value
    finally:
        await client.close()


async def test_each_fault_of_tls_has_its_own_sentence(tmp_path: Path) -> None:
    def authority(name: str) -> Authority:
        (tmp_path / name).mkdir()
        return Authority(tmp_path / name)

    ours, theirs = authority("ours"), authority("theirs")
    mine = folder(tmp_path / "mine", ours, ours.client("me"))
    strange = folder(tmp_path / "strange", ours, theirs.client("me"))
    async with listening(served(ours, ours.server(expired=True))) as port:
        assert "has expired" in (await trouble(port, mine)).message
    async with listening(served(theirs, theirs.server())) as port:
        assert "our CA did not sign" in (await trouble(port, mine)).message
    async with listening(served(ours, ours.server(hosts=("DNS:engine.example",)))) as port:
        assert "for another name" in (await trouble(port, mine)).message
    with blocking(served(ours, ours.server())) as port:
        found = await trouble(port, strange)
        assert found.trouble == "unauthorized", found.message
        assert "does not accept our client certificate" in found.message
    async with listening(served(ours, ours.server())) as port:
        assert "breaks off before" in (await trouble(port, strange)).message
    async with listening(None, b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "speaks no TLS" in (await trouble(port, mine)).message
    head = f"HTTP/1.0 400 Bad Request\r\nContent-Length: {len(_REFUSAL)}\r\n\r\n".encode()
    async with listening(None, head + _REFUSAL) as port:
        found = await trouble(port, {})
        assert "wants TLS" in found.message and "DOCKER_TLS_VERIFY" in found.next_step
