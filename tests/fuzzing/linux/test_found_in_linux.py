# SPDX-License-Identifier: Apache-2.0
"""What docs/found-in-linux.md tells of KVM's vgic, on Linux' own code and on the model."""

from gicmodel.fuzzing.peers.linux.kvm.peer import AgainstLinux, LinuxKvm
from gicmodel.fuzzing.programs.text import parse_program

HEADER = """gicmodel fuzz program, version 1
against linux-kvm
vm architecture=4.1 vcpus={vcpus} its=1 vsgis={vsgis}

poke_byte address=0x40050000 byte=0xa3
rd_write rd=0 offset=0x70 value=0x4005000f size=8
rd_write rd=0 offset=0x78 value=0x40100000 size=8
rd_write rd=0 offset=0 value=1 size=4
its_write its=0 offset=0x100 value=0x8000000040020000 size=8
its_write its=0 offset=0x108 value=0x8000000040040000 size=8
its_write its=0 offset=0x80 value=0x8000000040010000 size=8
its_write its=0 offset=0 value=1 size=4
MAPC its=0 ICID=0x0 RDbase=0x0 V=1
MAPD its=0 DeviceID=0x0 Size=0x3 ITT_addr=0x400c0800 V=1
"""
PENDING_BYTE = 0x10_0000 + 0x2000 // 8


def after(peer: LinuxKvm, steps: str, vsgis: int = 0) -> AgainstLinux:
    """Both machines after steps that they take alike."""
    program = parse_program(HEADER.format(vcpus=1, vsgis=vsgis) + steps, "this test")
    comparison = peer.start(program.machine)
    comparison.run(program.steps)
    comparison.check()
    return comparison


def test_an_msi_by_software_of_a_forwarded_event_is_lost_by_a_save(peer: LinuxKvm):
    """The interrupt is in the latch, and the save looks into the VPT: neither RAM nor the GIC has it."""
    mapped = "MAPTI its=0 DeviceID=0x0 EventID=0x0 pINTID=0x2000 ICID=0x0\n"
    sent = "msi its=0 DeviceID=0 EventID=0\nsave_pending_tables lpi_by_lpi=1"
    lost = after(peer, f"{mapped}forward its=0 DeviceID=0 EventID=0 irq=1\n{sent}")
    ((_, _, _, _, _, latch, hw, _),) = lost.linux.state()["LPIs"]
    assert (latch, hw) == (1, 1)
    assert lost.linux.state_of_host()["forwarded"][0][-1] == 0, "nothing is pending in the VPT"
    assert lost.linux.ram[PENDING_BYTE] == 0
    kept = after(peer, mapped + sent)
    assert kept.linux.ram[PENDING_BYTE] == 1


def test_forwarding_an_lpi_that_has_no_target(peer: LinuxKvm):
    """Two events map it, the first one in a collection that is not mapped."""
    died = after(
        peer,
        "MAPTI its=0 DeviceID=0x0 EventID=0x0 pINTID=0x2000 ICID=0x7\n"
        "MAPTI its=0 DeviceID=0x0 EventID=0x3 pINTID=0x2000 ICID=0x0\n"
        "forward its=0 DeviceID=0 EventID=3 irq=1",
    )
    assert died.outcomes["forward", "OOPS"] == 1
    assert died.linux.died_at == "its_map_vlpi"


def test_userspace_asks_for_vsgis_that_the_cpus_do_not_have(peer: LinuxKvm):
    """Before 6.17: GICD_CTLR.nASSGIreq, and the first run of a vCPU."""
    went = after(peer, "dist_user_write offset=0 word=0x102\nload vcpu=0")
    assert went.outcomes["load", "OK" if peer.behaviour.asks_cpu_interface_for_vsgis else "OOPS"] == 1


def test_a_queued_lpi_that_is_not_forwarded_any_more(peer: LinuxKvm):
    """Before 6.16: its event is discarded while it is on an ap_list, and it is mapped again."""
    went = after(
        peer,
        "MAPTI its=0 DeviceID=0x0 EventID=0x0 pINTID=0x2000 ICID=0x0\nmsi its=0 DeviceID=0 EventID=0\n"
        "forward its=0 DeviceID=0 EventID=0 irq=1\nmsi its=0 DeviceID=0 EventID=0\n"
        "DISCARD its=0 DeviceID=0x0 EventID=0x0\nMAPTI its=0 DeviceID=0x0 EventID=0x0 pINTID=0x2000 ICID=0x0\n"
        "INT its=0 DeviceID=0x0 EventID=0x0",
    )
    assert went.outcomes["INT", "OK" if peer.behaviour.freed_ite_ends_hw else "STORM"] == 1
