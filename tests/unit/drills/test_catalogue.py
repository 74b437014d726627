"""What a scenario may name is what there is: faults, proofs, deeds and undos agree word for word."""

from __future__ import annotations

from typing import get_args

from backend.contract.faults import ProxyFault, ShimFault
from backend.drills import library
from backend.drills.catalogue import FAULTS, KEYS
from backend.drills.faults import deeds, proofs, undo_kind, undoing
from backend.drills.scenario import FaultName, Injection, VerifyName
from backend.drills.undo_log import UndoKind


def test_the_catalogue_knows_each_fault_and_each_proof_of_the_format_and_no_other() -> None:
    assert set(FAULTS) == set(get_args(FaultName))
    assert {proof for traits in FAULTS.values() for proof in traits.proofs} == set(get_args(VerifyName))
    keys = {key for traits in FAULTS.values() for key in (*traits.needs, *traits.takes)}
    assert keys == KEYS
    assert set(Injection.__struct_fields__) >= KEYS
    ordered = {traits.kind for traits in FAULTS.values() if traits.kind is not None}
    by_scope = {"freeze-engine"}  # the kind of process.stop with scope: engine
    assert ordered | by_scope == {*get_args(ShimFault), *get_args(ProxyFault)}
    assert all((traits.kind is None) == (not traits.held_by) for traits in FAULTS.values())


def test_each_fault_of_the_catalogue_has_a_shipped_drill() -> None:
    shipped = (library.load(name).scenario for name in library.library())
    assert {injection.fault for scenario in shipped for injection in scenario.injections()} == set(FAULTS)


def test_each_fault_has_a_deed_or_a_holder_and_a_way_back() -> None:
    assert set(deeds.DEEDS) == {fault for fault, traits in FAULTS.items() if not traits.held_by}
    assert {undo_kind(Injection(id="f", fault=fault, target="pool")) for fault in FAULTS} <= set(undoing.WAYS)
    assert set(undoing.WAYS) == set(get_args(UndoKind))


def test_each_proof_of_the_format_is_carried_out() -> None:
    assert {*proofs.PER_VICTIM, *proofs.AS_A_WHOLE} == set(get_args(VerifyName))
    assert not set(proofs.PER_VICTIM) & set(proofs.AS_A_WHOLE)
