"""An API server that was restored from an older state, or made anew at the same place, is followed again by itself."""

from __future__ import annotations

from pathlib import Path

from tests.integration.kube.rig import add_pods, until, watching
from tests.kube_emulator import Emulator


async def test_a_cluster_made_anew_with_lower_versions_is_seen_as_it_is_now(tmp_path: Path) -> None:
    async with Emulator() as former:
        add_pods(former, 30, prefix="old")
        async with watching(former, tmp_path) as rig:
            await rig.all_watching()
            await until(lambda: len(rig.names) == 30, "the pods of before")
            await former.stop_listening()
            async with Emulator(port=former.port) as fresh:
                assert fresh.store.version < former.store.version
                add_pods(fresh, 2, prefix="new")
                await rig.sees("new-0000", "new-0001")
                await until(lambda: rig.fleet.trouble() is None, "nothing is wrong any more")
