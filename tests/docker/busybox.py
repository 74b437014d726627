"""A small image from this machine's own static busybox: nothing is pulled."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

from tests.docker.engine import Engine, EngineUnusable

IMAGE = "trinity-test:busybox"
_APPLETS = (
    *("sh", "sleep", "httpd", "nc", "cat", "echo", "ls", "kill", "true", "false", "tail", "head", "seq", "env", "test"),
    *("touch", "rm", "stty", "ps", "date", "printf", "trap", "tty", "id", "yes", "dd"),
)


def make_busybox(engine: Engine) -> str:
    """Import it into the engine; the image's reference."""
    engine.api.import_image_from_data(rootfs(), repository=IMAGE.partition(":")[0], tag=IMAGE.partition(":")[2])
    return IMAGE


def rootfs() -> bytes:
    """A root file system as a tar."""
    found = next(
        (p for p in ("/bin/busybox", "/usr/bin/busybox", shutil.which("busybox")) if p and Path(p).exists()), ""
    )
    if not found:
        raise EngineUnusable("busybox is missing: apt-get install busybox-static.")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "tmp", "proc", "sys", "dev", "etc", "www", "root"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(info)
        tar.add(found, "bin/busybox", filter=_executable)
        for applet in _APPLETS:
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        page = b"hello from a container\n"
        info = tarfile.TarInfo("www/index.html")
        info.size = len(page)
        tar.addfile(info, io.BytesIO(page))
    return buffer.getvalue()


def _executable(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mode, info.uid, info.gid = 0o755, 0, 0
    return info
