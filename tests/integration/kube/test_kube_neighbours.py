"""What else can be looked at from a fleet: contexts and namespaces, as far as the account may see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.contract.platform import HasNeighbours, Neighbours
from backend.fleet.kube import neighbours
from tests.integration.kube.rig import watching
from tests.kube_emulator import Emulator
from tests.kube_emulator.access import reader
from tests.kube_emulator.kubeconfig import Context, Login, write_kubeconfig


async def test_contexts_and_namespaces_are_offered_and_what_may_not_be_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_ANSWER_S", 60.0)
    async with Emulator(namespaces=("default", "shop", "staging")) as cluster:
        cluster.account("here-only", "here-token", reader("shop", but=("namespaces",)))
        config = write_kubeconfig(
            tmp_path / "config",
            cluster.context("prod", namespace="shop"),
            cluster.context("narrow", login=Login(token="here-token"), namespace="shop"),
            Context("gone", "http://127.0.0.1:1"),
        )
        contexts = ("gone", "narrow", "prod")
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            assert isinstance(rig.fleet, HasNeighbours)
            everything = Neighbours(address="k8s:prod/shop", contexts=contexts, parts=("default", "shop", "staging"))
            assert await rig.fleet.neighbours() == everything
        async with watching(cluster, tmp_path, kubeconfig=str(config), context="narrow") as rig:
            assert await rig.fleet.neighbours() == Neighbours(address="k8s:narrow/shop", contexts=contexts)
        async with watching(cluster, tmp_path, kubeconfig=str(config), context="gone", namespace="x") as rig:
            assert await rig.fleet.neighbours() == Neighbours(address="k8s:gone/x", contexts=contexts)
