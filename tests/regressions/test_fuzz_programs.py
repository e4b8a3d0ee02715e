# SPDX-License-Identifier: Apache-2.0
"""Programs that `gicmodel fuzz` found and shrank: hardware and oracle once differed at their ends.

Each says who was wrong. VPTs and ITTs are at the addresses that `gicmodel.fuzzing.rig` gives them.
"""

import pytest

from gicmodel.fuzzing.execution import first_divergence
from gicmodel.fuzzing.peers.oracle import PEER
from gicmodel.fuzzing.program_text import parse_program

V40 = "config architecture=4.0 redistributors=3 vpt_writeback=immediate pending_writeback=immediate"
SMALL = "device_id_bits=10 collection_id_bits=8 vpe_id_bits=7 vpt_cache_sets=1"

PROGRAMS = {
    # Hardware: QEMU's gicv3_redist_process_vlpi drops what a resident vPE does not take, whichever way it changes.
    "CLEAR of a vLPI beyond GICR_VPROPBASER.IDbits": f"""
        {V40} event_id_bits=5 {SMALL}
        tables page_size=0 indirect=0 pages=1
        VMAPP its=0 vPEID=0x0 RDbase=0x1 V=1 VPT_size=0xf VPT_addr=0x80080000
        MAPD its=0 DeviceID=0x0 Size=0x0 ITT_addr=0x80050000 V=1
        VMAPTI its=0 DeviceID=0x0 EventID=0x0 vPEID=0x0 vINTID=0xffff Doorbell=0x2000
        INT its=0 DeviceID=0x0 EventID=0x0
        schedule_v40 rd=1 vpt=1 vconf=1 bits=0xe
        CLEAR its=0 DeviceID=0x0 EventID=0x0
        """,
    # Oracle: in GICv4.0, as in QEMU, the address of a VPT is all that a residency knows.
    "VMAPP V=0 of a resident vPE in GICv4.0": f"""
        {V40} event_id_bits=5 {SMALL}
        tables page_size=0 indirect=0 pages=1
        schedule_v40 rd=2 vpt=2 vconf=0 bits=0xe
        VMAPP its=0 vPEID=0x0 RDbase=0x0 V=1 VPT_size=0xd VPT_addr=0x80090000
        VMOVP its=0 SeqNum=0x0 ITSList=0x0 vPEID=0x0 RDbase=0x2 DB=0 Default_Doorbell=0x0
        VMAPP its=0 vPEID=0x0 RDbase=0x0 V=0 VPT_size=0xd VPT_addr=0x80090000
        """,
    # Oracle: V=0 of a resident vPE is an error even on an ITS that no longer has it mapped.
    "VMAPP V=0 twice, the second of a resident vPE": f"""
        config architecture=4.1 redistributors=3 event_id_bits=14 intid_bits=14 {SMALL}
        tables page_size=0 indirect=0 pages=1
        VMAPP its=0 Alloc=1 VCONF_addr=0x80100000 Default_Doorbell=0x2002 vPEID=0x0 V=1 VPT_size=0xd VPT_addr=0x800d0000
        VMAPP its=0 vPEID=0x0 V=0
        schedule rd=0 vPEID=0 VGrp0En=1 VGrp1En=1
        VMAPP its=0 vPEID=0x0 V=0
        """,
    # Oracle: the vPE is mapped, so that GITS_STATUSR.Syndrome is not "vPEID unmapped" (DDI0601).
    "a message whose vINTID the VPT has no bit for": f"""
        {V40} event_id_bits=5 intid_bits=15 {SMALL}
        tables page_size=0 indirect=0 pages=1
        VMAPP its=0 vPEID=0x0 V=1 VPT_size=0xd VPT_addr=0x80080000
        MAPD its=0 DeviceID=0x0 Size=0x0 ITT_addr=0x80050000 V=1
        VMAPTI its=0 DeviceID=0x0 EventID=0x0 vPEID=0x0 vINTID=0x7fff Doorbell=0x3ff
        translate its=0 DeviceID=0 EventID=0
        """,
    # Oracle: the checks of VMAPP are in the order of those of VMOVP.
    "VMAPP with a vPEID and a doorbell that are out of range": f"""
        config architecture=4.1 {SMALL}
        tables page_size=0 indirect=0 pages=1
        VMAPP its=0 Alloc=1 Default_Doorbell=0x0 vPEID=0xffff V=1 VPT_size=0xd
        """,
}


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_hardware_and_oracle_agree(text: str) -> None:
    program = parse_program(f"gicmodel fuzz program, version 1\nagainst oracle\n{text}", "this test")
    assert first_divergence(PEER, program) is None
