# SPDX-License-Identifier: Apache-2.0
"""Virtual LPIs, vPEs and residency in the oracle (GICv4.1; GICv4.0 at the end)."""

from collections.abc import Callable

import pytest

from gicmodel.spec import SPURIOUS, AbstractGic

ENABLED, DISABLED = 0xA1, 0xA0
VPT, VCONF = [0x9001_0000, 0x9002_0000], 0x9000_0000
Run = Callable[..., None]


@pytest.fixture(autouse=True)
def mapped(request: pytest.FixtureRequest) -> None:
    """Two vPEs on redistributors 0 and 1; event n of device 1 leads to vLPI 8192 + n of vPE 0."""
    if "oracle" not in request.fixturenames:
        return
    oracle, run = request.getfixturevalue("oracle"), request.getfixturevalue("run")
    run("MAPD", DeviceID=1, Size=2, ITT_addr=0x1000, V=1)
    run("MAPC", ICID=0, RDbase=0, V=1)
    for vpeid in range(2):
        map_vpe(run, vpeid)
    for event in range(4):
        run("VMAPTI", DeviceID=1, EventID=event, vPEID=0, vINTID=8192 + event, Doorbell=1023)
        oracle.set_virtual_configuration(VCONF, 8192 + event, ENABLED)


def map_vpe(run: Run, vpeid: int, **fields: int) -> None:
    mapping = {"RDbase": vpeid, "VPT_addr": VPT[vpeid], "VCONF_addr": VCONF, "VPT_size": 15, "Default_Doorbell": 1023}
    run("VMAPP", vPEID=vpeid, V=1, Alloc=1, **(mapping | fields))


def test_a_vlpi_waits_for_its_vpe(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    assert oracle.virtual_pending(0) == {8192}
    assert oracle.acknowledge_virtual(0) == SPURIOUS
    assert oracle.schedule(0, 0)
    run("INT", DeviceID=1, EventID=1)
    assert [oracle.acknowledge_virtual(0) for _ in range(3)] == [8192, 8193, SPURIOUS]


def test_vmapi_uses_the_event_id(oracle: AbstractGic, run: Run) -> None:
    run("MAPD", DeviceID=2, Size=13, ITT_addr=0x8000, V=1)
    run("VMAPI", DeviceID=2, EventID=8200, vPEID=1, Doorbell=1023)
    run("INT", DeviceID=2, EventID=8200)
    assert oracle.virtual_pending(1) == {8200}


def test_clear_and_discard(oracle: AbstractGic, run: Run) -> None:
    for event in range(3):
        run("INT", DeviceID=1, EventID=event)
    run("CLEAR", DeviceID=1, EventID=0)
    run("DISCARD", DeviceID=1, EventID=1)
    assert oracle.virtual_pending(0) == {8194}


def test_vmovi_moves_pending_state(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    run("INT", DeviceID=1, EventID=1)
    run("VMOVI", DeviceID=1, EventID=0, vPEID=1)
    run("VMOVI", DeviceID=1, EventID=2, vPEID=1)
    assert (oracle.virtual_pending(0), oracle.virtual_pending(1)) == ({8193}, {8192})
    run("INT", DeviceID=1, EventID=2)
    assert oracle.virtual_pending(1) == {8192, 8194}


def test_vmovi_between_vpes_of_one_vpt_moves_nothing(oracle: AbstractGic, run: Run) -> None:
    run("VMAPP", vPEID=1, V=0, Alloc=1)
    map_vpe(run, 1, VPT_addr=VPT[0])
    run("INT", DeviceID=1, EventID=0)
    run("VMOVI", DeviceID=1, EventID=0, vPEID=1)
    assert oracle.virtual_pending(1) == {8192}


@pytest.mark.parametrize(("byte", "pending_last"), [(ENABLED, True), (DISABLED, False)])
def test_pending_last_tells_of_enabled_interrupts(oracle: AbstractGic, run: Run, byte: int, pending_last: bool) -> None:
    oracle.set_virtual_configuration(VCONF, 8192, byte)
    oracle.schedule(0, 0)
    run("INT", DeviceID=1, EventID=0)
    assert oracle.deschedule(0) is pending_last
    assert oracle.virtual_pending(0) == {8192}


def test_pending_last_looks_at_the_group_enables(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    oracle.schedule(0, 0, frozenset({0}))
    assert oracle.acknowledge_virtual(0) == SPURIOUS
    assert oracle.deschedule(0) is False


def test_pending_last_written_1_stays_1(oracle: AbstractGic) -> None:
    oracle.schedule(0, 0)
    assert oracle.deschedule(0, pending_last=True) is True


def test_a_vpe_is_resident_anywhere_in_its_group_but_once(oracle: AbstractGic) -> None:
    assert oracle.schedule(3, 0)
    assert not oracle.schedule(0, 0)
    assert oracle.redistributors[0].residency is None
    assert oracle.schedule(0, 1)


@pytest.mark.parametrize("vpeid", [2, 8])
def test_an_unmapped_vpe_cannot_be_scheduled(oracle: AbstractGic, vpeid: int) -> None:
    assert not oracle.schedule(0, vpeid)
    with pytest.raises(ValueError, match="redistributor 0 has no resident vPE"):
        oracle.deschedule(0)


def test_a_resident_vpe_cannot_be_unmapped(oracle: AbstractGic) -> None:
    oracle.schedule(0, 0)
    assert oracle.execute(0, "VMAPP", vPEID=0, V=0, Alloc=1) == 0x012919
    assert oracle.execute(0, "VMAPP", vPEID=0, V=0) == 0x012919
    oracle.deschedule(0)
    assert oracle.execute(0, "VMAPP", vPEID=0, V=0, Alloc=1) == 0


def test_pending_state_survives_unmap_and_map(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    run("VMAPP", vPEID=0, V=0, Alloc=1)
    assert oracle.execute(0, "INT", DeviceID=1, EventID=1) == 0x010310
    map_vpe(run, 0)
    assert oracle.virtual_pending(0) == {8192}


def test_ptz_starts_with_an_empty_vpt(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    run("VMAPP", vPEID=0, V=0, Alloc=1)
    map_vpe(run, 0, PTZ=1)
    assert oracle.virtual_pending(0) == set()


def test_alloc_over_several_its(make_oracle: Callable[..., AbstractGic]) -> None:
    oracle = make_oracle(its=3)
    vpe = {"vPEID": 0, "VPT_addr": VPT[0], "VPT_size": 15, "Default_Doorbell": 1023}
    assert oracle.execute(1, "VMAPP", **vpe, V=1) == 0x012914, "nothing to add to"
    assert oracle.execute(0, "VMAPP", **vpe, V=1, Alloc=1) == 0
    assert oracle.execute(1, "VMAPP", **vpe, V=1, Alloc=1) == 0x012918, "made twice"
    assert oracle.execute(1, "VMAPP", **vpe, V=1) == 0
    assert oracle.execute(2, "VSYNC", vPEID=0) == 0x012514, "each ITS is told"
    assert oracle.execute(0, "VMAPP", vPEID=0, V=0, Alloc=1) == 0x012918, "ITS 1 still maps it"
    assert oracle.execute(0, "VMAPP", vPEID=0, V=0) == 0
    assert oracle.execute(0, "VSYNC", vPEID=0) == 0x012514
    assert oracle.execute(1, "VMAPP", vPEID=0, V=0, Alloc=1) == 0
    assert oracle.vpes == {}


def test_a_vpe_without_an_its_still_exists(make_oracle: Callable[..., AbstractGic]) -> None:
    oracle = make_oracle()
    vpe = {"vPEID": 0, "VPT_addr": VPT[0], "VPT_size": 15, "Default_Doorbell": 1023}
    oracle.execute(0, "VMAPP", **vpe, V=1, Alloc=1)
    assert oracle.execute(0, "VMAPP", vPEID=0, V=0) == 0
    assert oracle.execute(0, "VMAPP", **vpe, V=1, Alloc=1) == 0x012918
    assert oracle.execute(0, "VMAPP", **vpe, V=1) == 0
    assert oracle.execute(0, "VMAPP", vPEID=0, V=0) == 0
    assert oracle.execute(0, "VMAPP", vPEID=0, V=0, Alloc=1) == 0, "ends it though no ITS maps it"
    assert oracle.vpes == {}


def test_vmovp_on_one_its_moves_the_vpe_for_all(make_oracle: Callable[..., AbstractGic]) -> None:
    oracle = make_oracle(architecture="4.0", its=2, vmovp=True)
    for its in range(2):
        oracle.execute(its, "VMAPP", vPEID=0, VPT_addr=VPT[0], VPT_size=15, V=1)
    assert oracle.execute(1, "VMOVP", vPEID=0, RDbase=3) == 0
    assert [its.vpes[0].redistributor for its in oracle.its] == [3, 3]


def test_vmovp_without_typer_vmovp_moves_it_for_one(make_oracle: Callable[..., AbstractGic]) -> None:
    oracle = make_oracle(architecture="4.0", its=2, vmovp=False)
    for its in range(2):
        oracle.execute(its, "VMAPP", vPEID=0, VPT_addr=VPT[0], VPT_size=15, V=1)
    oracle.execute(0, "VMOVP", vPEID=0, RDbase=3, ITSList=3, SeqNum=1)
    assert [its.vpes[0].redistributor for its in oracle.its] == [3, 0]


# GICv4.0.


@pytest.fixture
def v40(make_oracle: Callable[..., AbstractGic]) -> AbstractGic:
    oracle = make_oracle(architecture="4.0")
    oracle.execute(0, "MAPD", DeviceID=1, Size=2, ITT_addr=0x1000, V=1)
    oracle.execute(0, "VMAPP", vPEID=0, RDbase=1, VPT_addr=VPT[0], VPT_size=15, V=1)
    for event, vintid in enumerate([8192, 20000]):
        oracle.execute(0, "VMAPTI", DeviceID=1, EventID=event, vPEID=0, vINTID=vintid, Doorbell=8192)
        oracle.set_virtual_configuration(VCONF, vintid, ENABLED)
    return oracle


def test_v40_residency_is_by_vpt_on_the_vpes_redistributor(v40: AbstractGic) -> None:
    v40.schedule_v40(0, VPT[0], VCONF, 16)
    v40.execute(0, "INT", DeviceID=1, EventID=0)
    assert v40.pending(1) == {8192}, "not resident where it is mapped: doorbell"
    v40.schedule_v40(1, VPT[0], VCONF, 16)
    assert v40.acknowledge_virtual(1) == 8192


def test_v40_drops_what_vpropbaser_idbits_excludes_while_resident(v40: AbstractGic) -> None:
    v40.schedule_v40(1, VPT[0], VCONF, 14)
    v40.execute(0, "INT", DeviceID=1, EventID=1)
    assert v40.virtual_pending(0) == set()
    assert v40.deschedule(1) is False
    v40.execute(0, "INT", DeviceID=1, EventID=1)
    assert v40.virtual_pending(0) == {20000}


def test_v40_pending_last(v40: AbstractGic) -> None:
    v40.schedule_v40(1, VPT[0], VCONF, 16)
    v40.execute(0, "INT", DeviceID=1, EventID=0)
    assert v40.deschedule(1) is True
    assert v40.virtual_pending(0) == {8192}
