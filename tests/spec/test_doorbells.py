# SPDX-License-Identifier: Apache-2.0
"""Default doorbells, individual doorbells and vSGIs in the oracle."""

from collections.abc import Callable

import pytest

from gicmodel.spec import SPURIOUS, AbstractGic

ENABLED, DISABLED = 0xA1, 0xA0
DOORBELL = 8300
VPT, OTHER_VPT, VCONF = 0x9001_0000, 0x9002_0000, 0x9000_0000
Run = Callable[..., None]


@pytest.fixture(autouse=True)
def mapped(request: pytest.FixtureRequest) -> None:
    """vPE 0 on redistributor 2 with a default doorbell; event n of device 1 leads to its vLPI 8192 + n."""
    if "oracle" not in request.fixturenames:
        return
    oracle, run = request.getfixturevalue("oracle"), request.getfixturevalue("run")
    run("MAPD", DeviceID=1, Size=2, ITT_addr=0x1000, V=1)
    vpe = {"RDbase": 2, "VCONF_addr": VCONF, "VPT_size": 15, "Default_Doorbell": DOORBELL}
    run("VMAPP", vPEID=0, V=1, Alloc=1, VPT_addr=VPT, **vpe)
    run("VMAPP", vPEID=1, V=1, Alloc=1, VPT_addr=OTHER_VPT, **vpe)
    for event in range(4):
        run("VMAPTI", DeviceID=1, EventID=event, vPEID=0, vINTID=8192 + event, Doorbell=1023)
        oracle.set_virtual_configuration(VCONF, 8192 + event, ENABLED)


def leave(oracle: AbstractGic, **request: bool) -> bool:
    oracle.schedule(0, 0)
    return oracle.deschedule(0, **request)


@pytest.mark.parametrize("doorbell", [False, True])
@pytest.mark.parametrize("pending_last", [False, True])
@pytest.mark.parametrize("waiting", [False, True])
def test_truth_table(oracle: AbstractGic, run: Run, doorbell: bool, pending_last: bool, waiting: bool) -> None:
    if waiting:
        run("INT", DeviceID=1, EventID=0)
    assert leave(oracle, doorbell=doorbell, pending_last=pending_last) is (waiting or pending_last)
    run("INT", DeviceID=1, EventID=1)
    rings = doorbell and not pending_last and not waiting
    assert oracle.pending(2) == ({DOORBELL} if rings else set())


def test_a_fresh_vpe_has_no_doorbell_armed(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    assert oracle.pending(2) == set()


def test_it_rings_once_for_each_non_residency(oracle: AbstractGic, run: Run) -> None:
    oracle.set_configuration(DOORBELL, ENABLED)
    leave(oracle, doorbell=True)
    run("INT", DeviceID=1, EventID=0)
    assert oracle.acknowledge(2) == DOORBELL
    run("INT", DeviceID=1, EventID=1)
    assert oracle.acknowledge(2) == SPURIOUS


def test_residency_disarms_and_clears_it(oracle: AbstractGic, run: Run) -> None:
    leave(oracle, doorbell=True)
    run("INT", DeviceID=1, EventID=0)
    oracle.schedule(1, 0)
    assert oracle.pending(2) == set()
    assert oracle.acknowledge_virtual(1) == 8192
    oracle.deschedule(1, doorbell=True)
    oracle.schedule(1, 0)
    oracle.deschedule(1)
    run("INT", DeviceID=1, EventID=0)
    assert oracle.pending(2) == set()


def test_a_disabled_interrupt_does_not_ring(oracle: AbstractGic, run: Run) -> None:
    oracle.set_virtual_configuration(VCONF, 8192, DISABLED)
    leave(oracle, doorbell=True)
    run("INT", DeviceID=1, EventID=0)
    assert oracle.pending(2) == set()
    run("INT", DeviceID=1, EventID=1)
    assert oracle.pending(2) == {DOORBELL}


@pytest.mark.parametrize("how", ["INV", "VINVALL", "INVLPIR", "INVALLR"])
def test_an_invalidation_that_enables_a_pending_interrupt_rings(oracle: AbstractGic, run: Run, how: str) -> None:
    oracle.set_virtual_configuration(VCONF, 8192, DISABLED)
    leave(oracle, doorbell=True)
    run("INT", DeviceID=1, EventID=0)
    oracle.set_virtual_configuration(VCONF, 8192, ENABLED)
    assert oracle.pending(2) == set()
    invalidations: dict[str, Callable[[], None]] = {
        "INV": lambda: run("INV", DeviceID=1, EventID=0),
        "VINVALL": lambda: run("VINVALL", vPEID=0),
        "INVLPIR": lambda: oracle.invalidate_virtual(0, 8192),
        "INVALLR": lambda: oracle.invalidate_virtual(0),
    }
    invalidations[how]()
    assert oracle.pending(2) == {DOORBELL}


def test_the_group_of_the_last_residency_decides(oracle: AbstractGic, run: Run) -> None:
    run("VSGI", vPEID=0, vINTID=3, Enable=1, Group=0)
    oracle.schedule(0, 0, frozenset({0}))
    oracle.deschedule(0, doorbell=True)
    run("INT", DeviceID=1, EventID=0)
    assert oracle.pending(2) == set()
    oracle.write_sgir(0, 0, 3)
    assert oracle.pending(2) == {DOORBELL}


def test_discarded_doorbell_counts_as_rung(oracle: AbstractGic, run: Run) -> None:
    leave(oracle, doorbell=True)
    oracle.enable_lpis(2, False)
    run("INT", DeviceID=1, EventID=0)
    oracle.enable_lpis(2)
    run("INT", DeviceID=1, EventID=1)
    assert oracle.pending(2) == set()


@pytest.mark.parametrize(("db", "rings"), [(1, 8301), (0, DOORBELL)])
def test_vmovp_moves_the_armed_doorbell(oracle: AbstractGic, run: Run, db: int, rings: int) -> None:
    leave(oracle, doorbell=True)
    run("VMOVP", vPEID=0, RDbase=3, DB=db, Default_Doorbell=8301)
    run("INT", DeviceID=1, EventID=0)
    assert (oracle.pending(2), oracle.pending(3)) == (set(), {rings})


def test_a_moved_vlpi_rings(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    oracle.schedule(1, 1)
    oracle.deschedule(1, doorbell=True)
    run("VMOVI", DeviceID=1, EventID=0, vPEID=1)
    assert oracle.pending(2) == {DOORBELL}


# Individual doorbells.


@pytest.mark.parametrize(("choice", "twice"), [("edge", False), ("every", True)])
def test_individual_doorbell(make_oracle: Callable[..., AbstractGic], choice: str, twice: bool) -> None:
    oracle = make_oracle(nid=False, individual_doorbell=choice)
    oracle.execute(0, "MAPD", DeviceID=1, Size=2, ITT_addr=0x1000, V=1)
    oracle.execute(0, "VMAPP", vPEID=0, RDbase=2, V=1, Alloc=1, VPT_addr=VPT, VPT_size=15, Default_Doorbell=1023)
    oracle.execute(0, "VMAPTI", DeviceID=1, EventID=0, vPEID=0, vINTID=8192, Doorbell=DOORBELL)
    oracle.set_configuration(DOORBELL, ENABLED)
    for expected in (DOORBELL, DOORBELL if twice else SPURIOUS):
        oracle.execute(0, "INT", DeviceID=1, EventID=0)
        assert oracle.acknowledge(2) == expected
    oracle.schedule(0, 0)
    oracle.execute(0, "CLEAR", DeviceID=1, EventID=0)
    oracle.execute(0, "INT", DeviceID=1, EventID=0)
    assert oracle.acknowledge(2) == SPURIOUS


@pytest.mark.parametrize(("d", "rings"), [(1, 8301), (0, DOORBELL)])
def test_vmovi_replaces_or_keeps_the_individual_doorbell(oracle: AbstractGic, run: Run, d: int, rings: int) -> None:
    run("VMAPTI", DeviceID=1, EventID=0, vPEID=0, vINTID=8192, Doorbell=DOORBELL)
    run("VMOVI", DeviceID=1, EventID=0, vPEID=1, D=d, Doorbell=8301)
    run("INT", DeviceID=1, EventID=0)
    assert oracle.pending(2) == {rings}


# vSGIs.


def test_a_vsgi_is_delivered_by_its_configuration(oracle: AbstractGic, run: Run) -> None:
    oracle.schedule(0, 0)
    oracle.write_sgir(0, 0, 5)
    assert oracle.acknowledge_virtual(0) == SPURIOUS
    assert oracle.pending_vsgis(0) == {5}
    run("VSGI", vPEID=0, vINTID=5, Enable=1, Group=1, Priority=0xA)
    run("INT", DeviceID=1, EventID=0)
    assert [oracle.acknowledge_virtual(0) for _ in range(3)] == [5, 8192, SPURIOUS], "0xA0 each: the lower INTID"


@pytest.mark.parametrize(("groups", "taken"), [({0, 1}, 5), ({0}, 5), ({1}, SPURIOUS)])
def test_acknowledge_takes_from_the_enabled_groups(oracle: AbstractGic, run: Run, groups: set[int], taken: int) -> None:
    run("VSGI", vPEID=0, vINTID=5, Enable=1, Group=0)
    oracle.write_sgir(0, 0, 5)
    oracle.schedule(0, 0, frozenset(groups))
    assert oracle.acknowledge_virtual(0) == taken


def test_vsgi_clear_keeps_the_configuration(oracle: AbstractGic, run: Run) -> None:
    run("VSGI", vPEID=0, vINTID=5, Enable=1, Group=1)
    oracle.write_sgir(0, 0, 5)
    run("VSGI", vPEID=0, vINTID=5, Clear=1)
    assert oracle.pending_vsgis(0) == set()
    oracle.write_sgir(0, 0, 5)
    oracle.schedule(0, 0)
    assert oracle.acknowledge_virtual(0) == 5


def test_a_vsgi_survives_unmap_and_map(oracle: AbstractGic, run: Run) -> None:
    run("VSGI", vPEID=0, vINTID=5, Enable=1, Group=1)
    oracle.write_sgir(0, 0, 5)
    run("VMAPP", vPEID=0, V=0, Alloc=1)
    assert oracle.pending_vsgis(0) == set(), "no vPE to ask"
    run("VMAPP", vPEID=0, V=1, Alloc=1, VPT_addr=VPT, VPT_size=15, Default_Doorbell=1023)
    oracle.schedule(0, 0)
    assert oracle.acknowledge_virtual(0) == 5


def test_configuring_a_pending_vsgi_rings(oracle: AbstractGic, run: Run) -> None:
    leave(oracle, doorbell=True)
    oracle.write_sgir(0, 0, 5)
    assert oracle.pending(2) == set()
    run("VSGI", vPEID=0, vINTID=5, Enable=1, Group=1)
    assert oracle.pending(2) == {DOORBELL}


def test_sgir_of_an_unmapped_vpe_is_ignored(oracle: AbstractGic, run: Run) -> None:
    oracle.write_sgir(0, 7, 5)
    run("VMAPP", vPEID=7, V=1, Alloc=1, VPT_addr=0x9003_0000, VPT_size=15, Default_Doorbell=1023)
    assert oracle.pending_vsgis(7) == set()
