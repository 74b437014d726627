"""`python -m backend.drills.proxy --spec JSON`: one fault proxy, until SIGTERM."""

from __future__ import annotations

import gc
import resource
import sys

import msgspec
import uvloop

from backend.contract import exit_codes
from backend.drills.proxy.program import serve
from backend.drills.proxy.spec import ProxySpec


def main(arguments: list[str]) -> int:
    """Exit code: 0 after a stop, else as `contract.exit_codes`."""
    if len(arguments) != 2 or arguments[0] != "--spec":
        sys.stderr.write("usage: python -m backend.drills.proxy --spec JSON\n")
        return exit_codes.USAGE
    try:
        spec = msgspec.json.decode(arguments[1], type=ProxySpec)
    except msgspec.DecodeError as error:
        sys.stderr.write(f"The specification is not one of a fault proxy: {error}\n")
        return exit_codes.USAGE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else soft, hard))
    gc.collect()
    gc.freeze()
    try:
        uvloop.run(serve(spec))
    except OSError as error:
        sys.stderr.write(f"The fault proxy of {spec.name} cannot run: {error}\n")
        return exit_codes.FAILED
    return exit_codes.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
