# SPDX-License-Identifier: Apache-2.0
"""Programs that `gicmodel fuzz` found and shrank: hardware and oracle once differed at their ends.

Each says who was wrong, how its commands end, and what can be seen then. VPTs, ITTs and configuration tables are those
of the program's own machine, by number: `{vpts[1]:#x}`.
"""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from gicmodel.fuzzing.finding import run
from gicmodel.fuzzing.peers.oracle import PEER
from gicmodel.fuzzing.peers.pair import Pair
from gicmodel.fuzzing.programs.program import Program
from gicmodel.fuzzing.programs.text import parse_program
from gicmodel.hardware.observe import pending_virtual
from gicmodel.spec import Reason, Syndrome
from gicmodel.spec.gic import error_number

V40 = "config architecture=4.0 redistributors=3 vpt_writeback=immediate pending_writeback=immediate"
SMALL = "device_id_bits=10 collection_id_bits=8 vpe_id_bits=7 vpt_cache_sets=1"


@dataclass(frozen=True)
class Found:
    """A program, its machine, and how it ends.

    `ends`: how each command ends, in order. `pending`: vINTIDs in each VPT. `resident`: redistributors with a vPE.
    `syndrome`: of the last message.
    """

    config: str
    steps: str
    ends: list[tuple[str, Reason | None]]
    pending: dict[int, list[int]] = field(default_factory=dict)
    resident: tuple[int, ...] = ()
    syndrome: Syndrome | None = None

    @property
    def program(self) -> Program:
        head = (
            f"gicmodel fuzz program, version 1\nagainst oracle\n{self.config}\ntables page_size=0 indirect=0 pages=1\n"
        )
        universe = PEER.start(parse_program(head, "this test").machine).universe
        tables = {name: getattr(universe, name) for name in ("itts", "vpts", "vconfs")}
        return parse_program(head + self.steps.format(**tables), "this test")

    @property
    def outcomes(self) -> Counter[tuple[str, int]]:
        return Counter((name, 0 if reason is None else error_number(name, reason)) for name, reason in self.ends)


PROGRAMS = {
    # Hardware: QEMU's gicv3_redist_process_vlpi drops what a resident vPE does not take, whichever way it changes.
    "CLEAR of a vLPI beyond GICR_VPROPBASER.IDbits": Found(
        f"{V40} event_id_bits=5 {SMALL}",
        """
        VMAPP its=0 vPEID=0x0 RDbase=0x1 V=1 VPT_size=0xf VPT_addr={vpts[1]:#x}
        MAPD its=0 DeviceID=0x0 Size=0x0 ITT_addr={itts[0]:#x} V=1
        VMAPTI its=0 DeviceID=0x0 EventID=0x0 vPEID=0x0 vINTID=0xffff Doorbell=0x2000
        INT its=0 DeviceID=0x0 EventID=0x0
        schedule_v40 rd=1 vpt=1 vconf=1 bits=0xe
        CLEAR its=0 DeviceID=0x0 EventID=0x0
        """,
        ends=[("VMAPP", None), ("MAPD", None), ("VMAPTI", None), ("INT", None), ("CLEAR", None)],
        pending={1: [0xFFFF]},
        resident=(1,),
    ),
    # Oracle: in GICv4.0, as in QEMU, the address of a VPT is all that a residency knows.
    "VMAPP V=0 of a resident vPE in GICv4.0": Found(
        f"{V40} event_id_bits=5 {SMALL}",
        """
        schedule_v40 rd=2 vpt=2 vconf=0 bits=0xe
        VMAPP its=0 vPEID=0x0 RDbase=0x0 V=1 VPT_size=0xd VPT_addr={vpts[2]:#x}
        VMOVP its=0 SeqNum=0x0 ITSList=0x0 vPEID=0x0 RDbase=0x2 DB=0 Default_Doorbell=0x0
        VMAPP its=0 vPEID=0x0 RDbase=0x0 V=0 VPT_size=0xd VPT_addr={vpts[2]:#x}
        """,
        ends=[("VMAPP", None), ("VMOVP", None), ("VMAPP", None)],
        resident=(2,),
    ),
    # Oracle: V=0 of a resident vPE is an error even on an ITS that no longer has it mapped.
    "VMAPP V=0 twice, the second of a resident vPE": Found(
        f"config architecture=4.1 redistributors=3 event_id_bits=14 intid_bits=14 {SMALL}",
        """
        VMAPP its=0 Alloc=1 VCONF_addr={vconfs[1]:#x} Default_Doorbell=0x2002 V=1 VPT_size=13 VPT_addr={vpts[1]:#x}
        VMAPP its=0 vPEID=0x0 V=0
        schedule rd=0 vPEID=0 VGrp0En=1 VGrp1En=1
        VMAPP its=0 vPEID=0x0 V=0
        """,
        ends=[("VMAPP", None), ("VMAPP", None), ("VMAPP", Reason.VCPU_RESIDENT)],
        resident=(0,),
    ),
    # Oracle: the vPE is mapped, so that GITS_STATUSR.Syndrome is not "vPEID unmapped" (DDI0601).
    "a message whose vINTID the VPT has no bit for": Found(
        f"{V40} event_id_bits=5 intid_bits=15 {SMALL}",
        """
        VMAPP its=0 vPEID=0x0 V=1 VPT_size=0xd VPT_addr={vpts[1]:#x}
        MAPD its=0 DeviceID=0x0 Size=0x0 ITT_addr={itts[0]:#x} V=1
        VMAPTI its=0 DeviceID=0x0 EventID=0x0 vPEID=0x0 vINTID=0x7fff Doorbell=0x3ff
        translate its=0 DeviceID=0 EventID=0
        """,
        ends=[("VMAPP", None), ("MAPD", None), ("VMAPTI", None)],
        syndrome=Syndrome.UNKNOWN,
    ),
    # Oracle: the checks of VMAPP are in the order of those of VMOVP.
    "VMAPP with a vPEID and a doorbell that are out of range": Found(
        f"config architecture=4.1 {SMALL}",
        """
        VMAPP its=0 Alloc=1 Default_Doorbell=0x0 vPEID=0xffff V=1 VPT_size=0xd
        """,
        ends=[("VMAPP", Reason.VCPU_OOR)],
    ),
}


@pytest.mark.parametrize("found", PROGRAMS.values(), ids=PROGRAMS)
def test_hardware_and_oracle_agree(found: Found) -> None:
    assert run(PEER, found.program).divergence is None


@pytest.mark.parametrize("found", PROGRAMS.values(), ids=PROGRAMS)
def test_the_program_gets_to_where_they_differed(found: Found) -> None:
    comparison = PEER.start(found.program.machine)
    comparison.run(found.program.steps)
    assert comparison.outcomes == found.outcomes
    assert seen(comparison) == {vpt: found.pending.get(vpt, []) for vpt in range(len(comparison.universe.vpts))}
    resident = [comparison.lab.resident(rd) for rd in range(comparison.config.redistributors)]
    assert resident == [rd in found.resident for rd in range(len(resident))]
    if found.syndrome is not None:
        assert comparison.lab.translate(0, 0, 0) == found.syndrome


def seen(pair: Pair) -> dict[int, list[int]]:
    """The pending vINTIDs of each VPT, as the hardware has them."""
    vpts = enumerate(pair.lab.placement.vpts)
    return {number: pending_virtual(pair.lab.gic, vpt, pair.config.intid_bits).tolist() for number, vpt in vpts}
