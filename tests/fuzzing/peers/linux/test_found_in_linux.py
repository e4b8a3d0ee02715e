# SPDX-License-Identifier: Apache-2.0
"""What docs/found-in-linux.md tells of KVM's vgic and of the ITS driver, on Linux' own code and on the model."""

import pytest

from gicmodel.fuzzing.finding import divergence_of
from gicmodel.fuzzing.peers.linux.driver import sense
from gicmodel.fuzzing.peers.linux.driver.peer import LinuxDriver
from gicmodel.fuzzing.peers.linux.kvm.peer import AgainstLinux, LinuxKvm
from gicmodel.fuzzing.programs.text import parse_program
from tests.fuzzing.peers.linux.programs import with_a_device

PENDING_BYTE = 0x10_0000 + 0x2000 // 8


def after(peer: LinuxKvm, steps: str) -> AgainstLinux:
    """Both machines after steps that they take alike."""
    program = with_a_device(steps)
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


VSGIS = """gicmodel fuzz program, version 1
against linux-kvm
vm architecture=4.1 vcpus=1 its=1 vsgis=1

dist_write offset=0 value=0 size=4
dist_write offset=0 value=0x102 size=4
"""
ENABLE_3, DISABLE_3 = (f"rd_write rd=0 offset={offset:#x} value=8 size=4\n" for offset in (0x10100, 0x10180))


def vsgi_3(peer: LinuxKvm, steps: str) -> tuple[int, int]:
    """Whether SGI 3 is enabled to Linux, and as vSGI, after steps that Linux and the model take alike."""
    program = parse_program(VSGIS + steps, "this test")
    comparison = peer.start(program.machine)
    comparison.run(program.steps)
    comparison.check()
    enabled, *_, there, _ = comparison.linux.state()["SGIs"][0][3]
    return enabled, there


def test_the_first_disable_of_a_vsgi_is_lost(peer: LinuxKvm):
    assert vsgi_3(peer, "") == (1, 1)
    assert vsgi_3(peer, DISABLE_3) == (0, 1)
    assert vsgi_3(peer, DISABLE_3 + ENABLE_3 + DISABLE_3) == (0, 0)


def test_an_enable_is_lost_of_an_sgi_that_was_disabled_in_software(peer: LinuxKvm):
    in_software = "dist_write offset=0 value=0 size=4\ndist_write offset=0 value=2 size=4\n"
    anew = "dist_write offset=0 value=0 size=4\ndist_write offset=0 value=0x102 size=4\n"
    steps = DISABLE_3 + ENABLE_3 + in_software + DISABLE_3 + anew
    assert vsgi_3(peer, steps) == (0, 0)
    assert vsgi_3(peer, steps + ENABLE_3) == (1, 0)


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


# The ITS driver, on GICv4.0.

HOST = """gicmodel fuzz program, version 1
against linux-driver
config architecture=4.0 caching=retain {config}
host commands_per_step=0 late={late}

add_device its=0 DeviceID=0 vectors=4
request its=0 DeviceID=0 EventID=0
"""
FORWARDED = "forward its=0 DeviceID=0 EventID=0 vm=0 vcpu=0 vINTID=0x2000 byte=0xa3\n"


def difference(peer: LinuxDriver, steps: str, config: str = "", late: int = 0) -> str:
    """What is wrong after these steps; "None" if nothing is."""
    return str(divergence_of(peer, parse_program(HOST.format(config=config, late=late) + steps, "this test")))


@pytest.fixture
def unspared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sense, "KNOWN_BUGS", False)


@pytest.mark.usefixtures("unspared")
def test_a_vpe_that_runs_before_its_vm_has_vlpis(driver_peer: LinuxDriver):
    """Before 6.12 it does not even run."""
    steps = f"begin_vm vm=0 vcpus=1\nload vm=0 vcpu=0 cpu=2 VGrp0En=0\n{FORWARDED}"
    failed = difference(driver_peer, steps, "vmovp=0", late=1)
    old = driver_peer.source.is_before(6, 12)
    wrong = "what forward leaves out: VMOVP of vPEID 0x0 is missing: it runs on redistributor 2, mapped to 0"
    assert failed == ("the kernel's load: EINVAL" if old else wrong)
    first_mapped = f"begin_vm vm=0 vcpus=1\n{FORWARDED}load vm=0 vcpu=0 cpu=2 VGrp0En=0\n"
    assert difference(driver_peer, first_mapped, "vmovp=0", late=1) == "None"


SECOND_ITS = f"""add_device its=1 DeviceID=0 vectors=1
request its=1 DeviceID=0 EventID=0
begin_vm vm=0 vcpus=1
{FORWARDED}load vm=0 vcpu=0 cpu=3 VGrp0En=0
put vm=0 vcpu=0 Doorbell=0
forward its=1 DeviceID=0 EventID=0 vm=0 vcpu=0 vINTID=0x2001 byte=0xa3
load vm=0 vcpu=0 cpu=0 VGrp0En=0
"""
FIRST_VLPI_ANEW = f"""begin_vm vm=0 vcpus=1
{FORWARDED}raise its=0 DeviceID=0 EventID=0
interrupts
load vm=0 vcpu=0 cpu=2 VGrp0En=0
take vm=0 vcpu=0
put vm=0 vcpu=0 Doorbell=1
unforward its=0 DeviceID=0 EventID=0
{FORWARDED}raise its=0 DeviceID=0 EventID=0
interrupts
"""


@pytest.mark.parametrize(
    ("steps", "config", "wrong"),
    [
        (
            SECOND_ITS,
            "its=2",
            "what load leaves out: VMOVP of vPEID 0x0 is missing: it runs on redistributor 0, mapped to 3",
        ),
        (FIRST_VLPI_ANEW, "direct_lpi=1", "the doorbell of vCPU 0: has not rung"),
        (FIRST_VLPI_ANEW, "direct_lpi=0", "the doorbell of vCPU 0: has not rung"),
    ],
)
def test_vpes_are_mapped_anew_to_the_first_cpu(
    steps: str, config: str, wrong: str, driver_peer: LinuxDriver, monkeypatch: pytest.MonkeyPatch
):
    """Before 6.12. Found by a campaign of 1,000,000 operations of 6.1's driver."""
    late = 1 if steps == SECOND_ITS else 0
    assert difference(driver_peer, steps, f"vmovp=0 {config}", late) == "None"
    monkeypatch.setattr(sense, "KNOWN_BUGS", False)
    old = driver_peer.source.is_before(6, 12)
    assert difference(driver_peer, steps, f"vmovp=0 {config}", late) == (wrong if old else "None")


@pytest.mark.usefixtures("unspared")
def test_a_doorbell_is_lost_with_its_event_of_the_proxy(driver_peer: LinuxDriver):
    """Two CPUs, hence two events; the vCPUs 1 and 2 take that of vCPU 0."""
    blocked = f"begin_vm vm=0 vcpus=3\n{FORWARDED}load vm=0 vcpu=0 cpu=0 VGrp0En=0\nput vm=0 vcpu=0 Doorbell=1\n"
    rung = f"{blocked}raise its=0 DeviceID=0 EventID=0\n"
    others = "".join(f"load vm=0 vcpu={n} cpu=1 VGrp0En=0\nput vm=0 vcpu={n} Doorbell=0\n" for n in (1, 2))
    few = "redistributors=2 direct_lpi=0"
    assert difference(driver_peer, f"{rung}{others}interrupts", few) == "the doorbell of vCPU 0: has not rung"
    assert difference(driver_peer, f"{rung}interrupts\n{others}", few) == "None"


@pytest.mark.usefixtures("unspared")
def test_a_doorbell_does_not_ring_where_its_vpe_is_moved_to(driver_peer: LinuxDriver):
    raised = "raise its=0 DeviceID=0 EventID=0\n"
    masked = f"begin_vm vm=0 vcpus=1\n{FORWARDED}{raised}interrupts\n"
    blocked = "load vm=0 vcpu=0 cpu=1 VGrp0En=0\ntake vm=0 vcpu=0\nput vm=0 vcpu=0 Doorbell=1\n"
    assert difference(driver_peer, f"{masked}{blocked}unplug cpu=1\n{raised}interrupts") == (
        "the doorbell of vCPU 0: has not rung"
    )
    assert difference(driver_peer, f"{masked}{blocked}{raised}interrupts") == "None"


def test_a_doorbell_rings_for_the_next_owner_of_its_lpi(driver_peer: LinuxDriver):
    """The device that gets the LPI has sent nothing."""
    ended = f"begin_vm vm=0 vcpus=1\n{FORWARDED}raise its=0 DeviceID=0 EventID=0\nend_vm vm=0\n"
    next_owner = "add_device its=0 DeviceID=1 vectors=1\nrequest its=0 DeviceID=1 EventID=0\n"
    program = parse_program(HOST.format(config="", late=0) + ended + next_owner, "this test")
    comparison = driver_peer.start(program.machine)
    comparison.run(program.steps)
    ((_, intids),) = comparison.linux.do("interrupts").items()
    assert intids == [comparison.expected.devices[0, 1][0].intid]
    comparison.close()


@pytest.mark.usefixtures("unspared")
def test_an_lpi_that_was_a_doorbell_is_lost_where_that_waits(driver_peer: LinuxDriver):
    """Found by a campaign of 1,000,000 operations: the new owner's interrupt is moved to the doorbell's CPU."""
    raised = "raise its=0 DeviceID=0 EventID=0\n"
    ended = f"begin_vm vm=0 vcpus=1\n{FORWARDED}{raised}interrupts\nend_vm vm=0\n"
    next_owner = "add_device its=0 DeviceID=1 vectors=1\nrequest its=0 DeviceID=1 EventID=0\n"
    moved = "affinity its=0 DeviceID=1 EventID=0 cpu=0\nraise its=0 DeviceID=1 EventID=0\ninterrupts"
    steps = ended + next_owner + moved
    lost = difference(driver_peer, steps)
    assert lost.startswith("LPIs that CPUs take: is {}, should be {0: ["), lost
    assert difference(driver_peer, steps.replace(raised, "", 1)) == "None"


def test_a_late_gic_misses_the_inv_for_a_doorbell_that_waits(driver_peer: LinuxDriver, monkeypatch: pytest.MonkeyPatch):
    """GICv4.1: the byte is retained where the doorbell waits, and the INV goes where the next owner's event does."""
    header = "gicmodel fuzz program, version 1\nagainst linux-driver\nconfig caching=retain\n"
    steps = (
        "host commands_per_step=0 late=1\nbegin_vm vm=0 vcpus=1\n"
        "begin_vsgi vm=0 vcpu=0 SGI=0 enabled=1 group=1 byte=0xa1\nload vm=0 vcpu=0 cpu=1 VGrp0En=0\n"
        "put vm=0 vcpu=0 Doorbell=1\nset_vsgi_pending vm=0 vcpu=0 SGI=0 pending=1\nend_vm vm=0\n"
        "add_device its=0 DeviceID=0 vectors=1\ninterrupts\nrequest its=0 DeviceID=0 EventID=0\n"
    )
    program = parse_program(header + steps, "this test")
    assert divergence_of(driver_peer, program) is None
    monkeypatch.setattr(sense, "KNOWN_BUGS", False)
    assert str(divergence_of(driver_peer, program)).startswith("what request leaves out: INV of DeviceID 0x0 EventID 0")
