# SPDX-License-Identifier: Apache-2.0
"""SGIs, in software and as vSGIs in the GIC: where their state is, and how it is saved and restored."""

import pytest

from gicmodel.kvm import KvmError, Vgic
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import GICD_CTLR
from gicmodel.layouts.registers.redistributor import GICR_IPRIORITYR
from gicmodel.memory import GuestMemory
from tests.kvm.guest import RAM_BASE, RAM_BYTES, Guest
from tests.kvm.host import Host

SPURIOUS = 1023
SAVED = ("IGROUPR0", "ISENABLER0", "ISPENDR0", *(f"IPRIORITYR{n}" for n in range(4)))


def at(name):
    return register(name).offset


class SgiGuest:
    """Two vCPUs on a host; vCPU n runs on CPU n."""

    def __init__(self, host=None, driver=None):
        self.host = host
        self.vgic = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 2, driver or (host.driver if host else None))

    def use_vsgis(self, on=True):
        """The guest boots: the distributor off, then on with nASSGIreq as it wants."""
        self.vgic.distributor.write(at("GICD_CTLR"), 0, 4)
        self.vgic.distributor.write(at("GICD_CTLR"), GICD_CTLR.pack(nASSGIreq=on, EnableGrp1=1), 4)

    def taken(self, vcpu):
        """What arrives at a vCPU, from the GIC and from software."""
        self.vgic.load(vcpu, vcpu)
        interface = self.host.gic.redistributors[vcpu].cpu
        intids = []
        while (intid := interface.acknowledge_virtual()) != SPURIOUS:
            intids.append(intid)
        self.vgic.put(vcpu)
        return intids, self.vgic.acknowledge_all(vcpu)

    def write(self, vcpu, name, value):
        self.vgic.redistributors[vcpu].write(at(f"GICR_{name}"), value, 4)

    def read(self, vcpu, name):
        return self.vgic.redistributors[vcpu].read(at(f"GICR_{name}"), 4)

    def user_read(self, vcpu, name):
        return self.vgic.redistributors[vcpu].user_read(at(f"GICR_{name}"))

    def user_write(self, vcpu, name, value):
        self.vgic.redistributors[vcpu].user_write(at(f"GICR_{name}"), value)

    def saved(self):
        """What a monitor reads: GICD_CTLR, and of each vCPU the registers of its SGIs."""
        sgis = [{name: self.user_read(vcpu, name) for name in SAVED} for vcpu in (0, 1)]
        return self.vgic.distributor.user_read(at("GICD_CTLR")), sgis

    def restore(self, saved):
        """QEMU's kvm_arm_gicv3_put: GICD_CTLR first, each clearing register before its setting one."""
        ctlr, sgis = saved
        self.vgic.distributor.user_write(at("GICD_CTLR"), ctlr)
        for vcpu, registers in enumerate(sgis):
            for name in ("ICENABLER0", "ICPENDR0"):
                self.user_write(vcpu, name, 0xFFFF_FFFF)
            for name, value in registers.items():
                self.user_write(vcpu, name, value)


@pytest.fixture
def guest():
    guest = SgiGuest(Host())
    yield guest
    assert guest.host.gic.errors == []


def test_software_delivers_by_priority(guest):
    guest.write(0, "IPRIORITYR1", GICR_IPRIORITYR.pack(Priority_offset_0B=0x47, Priority_offset_1B=0x80))
    guest.write(0, "IPRIORITYR0", 0xC0C0_C0C0)
    for number in (3, 5, 4):
        guest.vgic.send_sgi(0, number)
    guest.write(0, "ICENABLER0", 1 << 5)
    assert [guest.vgic.acknowledge(0) for _ in range(3)] == [4, 3, SPURIOUS]
    guest.write(0, "ISENABLER0", 1 << 5)
    assert [guest.vgic.acknowledge(0), guest.vgic.acknowledge(1)] == [5, SPURIOUS]
    assert guest.read(0, "IPRIORITYR1") == 0x8040


def test_sgis_and_lpis_are_one_order():
    guest = Guest()
    guest.mapd(0)
    guest.mapc(0, 0)
    for event_id, octet in enumerate((0x81, 0x11)):
        guest.configure(8192 + event_id, octet)
        guest.mapti(0, event_id, 8192 + event_id, 0)
        guest.vgic.inject_msi(0, event_id)
    guest.vgic.redistributors[0].write(at("GICR_IPRIORITYR0"), 0x80, 4)
    guest.vgic.send_sgi(0, 0)
    assert guest.vgic.acknowledge_all(0) == [8193, 0, 8192]


def test_a_disabled_distributor_delivers_nothing(guest):
    guest.vgic.send_sgi(0, 3)
    guest.vgic.distributor.write(at("GICD_CTLR"), 0, 4)
    assert guest.vgic.acknowledge(0) == SPURIOUS
    guest.vgic.distributor.write(at("GICD_CTLR"), GICD_CTLR.pack(EnableGrp1=1), 4)
    assert guest.vgic.acknowledge(0) == 3


def test_pending_state_moves_to_the_gic_and_back(guest):
    guest.vgic.send_sgi(1, 7)
    guest.use_vsgis()
    assert guest.vgic.acknowledge(1) == SPURIOUS
    guest.vgic.send_sgi(1, 9)
    assert guest.read(1, "ISPENDR0") == 1 << 7 | 1 << 9
    guest.use_vsgis(False)
    assert guest.host.driver.vpes.by_id[1].sgi_config[7].enabled is False
    assert guest.read(1, "ISPENDR0") == 1 << 7 | 1 << 9
    assert guest.taken(1) == ([], [7, 9])


def test_vsgis_are_delivered_by_the_gic_once(guest):
    guest.use_vsgis()
    guest.vgic.send_sgi(1, 7)
    assert guest.taken(1) == ([7], [])
    assert guest.taken(1) == ([], [])


def test_the_guest_configures_vsgis(guest):
    guest.use_vsgis()
    for name in ("ICENABLER0", "ISENABLER0", "ICENABLER0"):
        guest.write(1, name, 0xFFFF)
    guest.write(1, "IPRIORITYR0", 0x20304050)
    for number in (0, 1, 2):
        guest.write(1, "ISPENDR0", 1 << number)
    assert guest.taken(1) == ([], [])
    guest.write(1, "ISENABLER0", 0b111)
    guest.write(1, "ICPENDR0", 0b010)
    assert guest.taken(1) == ([2, 0], [])
    guest.write(1, "IGROUPR0", 0xFFFE)
    guest.write(1, "ISPENDR0", 0b011)
    assert guest.taken(1) == ([1], [])


def test_nassgireq_is_fixed_while_the_distributor_is_enabled(guest):
    distributor = guest.vgic.distributor
    distributor.write(at("GICD_CTLR"), GICD_CTLR.pack(nASSGIreq=1, EnableGrp1=1), 4)
    assert not GICD_CTLR.unpack(distributor.read(at("GICD_CTLR"), 4))["nASSGIreq"]
    distributor.write(at("GICD_CTLR"), GICD_CTLR.pack(nASSGIreq=1), 4)
    distributor.write(at("GICD_CTLR"), GICD_CTLR.pack(EnableGrp1=1), 4)
    assert not GICD_CTLR.unpack(distributor.read(at("GICD_CTLR"), 4))["nASSGIreq"]
    distributor.write(at("GICD_CTLR"), GICD_CTLR.pack(), 4)
    distributor.write(at("GICD_CTLR"), GICD_CTLR.pack(nASSGIreq=1, EnableGrp1=1), 4)
    assert GICD_CTLR.unpack(distributor.read(at("GICD_CTLR"), 4)) == GICD_CTLR.unpack(0x152)


@pytest.mark.parametrize("architecture", ["3", "4.0"])
def test_without_gicv4_1_sgis_stay_in_software(architecture):
    guest = SgiGuest(Host(architecture))
    guest.use_vsgis()
    assert not GICD_CTLR.unpack(guest.vgic.distributor.read(at("GICD_CTLR"), 4))["nASSGIreq"]
    guest.vgic.send_sgi(0, 3)
    guest.vgic.load(0, 0)
    assert guest.vgic.acknowledge(0) == 3


def test_a_running_vcpu_sees_the_distributor_go_off_and_on(guest):
    """Linux d9c3872cd2f8: GICR_VPENDBASER.VGrp1En follows EnableGrp1 without waiting for the next load."""
    guest.use_vsgis()
    guest.vgic.load(1, 1)
    interface = guest.host.gic.redistributors[1].cpu
    guest.vgic.distributor.write(at("GICD_CTLR"), GICD_CTLR.pack(nASSGIreq=1), 4)
    guest.vgic.send_sgi(1, 4)
    assert interface.pending_virtual() == SPURIOUS
    guest.vgic.distributor.write(at("GICD_CTLR"), GICD_CTLR.pack(nASSGIreq=1, EnableGrp1=1), 4)
    assert interface.acknowledge_virtual() == 4


def test_userspace_reads_pending_vsgis_from_the_gic(guest):
    guest.use_vsgis()
    for number in (0, 15):
        guest.vgic.send_sgi(1, number)
    assert guest.user_read(1, "ISPENDR0") == 0x8001
    assert guest.user_read(1, "ICPENDR0") == 0
    assert guest.user_read(0, "ISPENDR0") == 0


def test_pending_vsgis_cannot_be_read_while_the_vpes_are_unmapped(guest):
    guest.use_vsgis()
    guest.vgic.unmap_all_vpes()
    with pytest.raises(KvmError, match="EINVAL"):
        guest.user_read(1, "ISPENDR0")
    guest.vgic.map_all_vpes()
    assert guest.user_read(1, "ISPENDR0") == 0


def test_a_write_of_ispendr0_gives_the_whole_state(guest):
    for number in (1, 2):
        guest.vgic.send_sgi(0, number)
    guest.user_write(0, "ISPENDR0", 1 << 3)
    assert guest.vgic.acknowledge_all(0) == [3]
    guest.use_vsgis()
    for number in (1, 2):
        guest.vgic.send_sgi(0, number)
    guest.user_write(0, "ICPENDR0", 0xFFFF)
    assert guest.user_read(0, "ISPENDR0") == 0b110
    guest.user_write(0, "ISPENDR0", 1 << 3)
    assert guest.taken(0) == ([3], [])


def test_the_save_survives_the_unmapping_of_vpes(guest):
    guest.use_vsgis()
    guest.vgic.send_sgi(1, 6)
    guest.vgic.save_pending_tables()
    assert guest.user_read(1, "ISPENDR0") == 1 << 6
    assert guest.taken(1) == ([6], [])


@pytest.mark.parametrize("vsgis", [True, False])
def test_from_host_to_host(guest, vsgis):
    guest.use_vsgis(vsgis)
    guest.write(1, "IPRIORITYR1", 0x10203040)
    guest.write(1, "ICENABLER0", 1 << 5)
    for number in (4, 5, 7):
        guest.vgic.send_sgi(1, number)
    guest.vgic.save_pending_tables()
    destination = SgiGuest(Host())
    destination.restore(guest.saved())
    assert not destination.vgic.dist.sgis.rows["hw"].any()
    assert destination.user_read(1, "ISPENDR0") == 0b1011_0000
    assert destination.taken(1) == (([7, 4], []) if vsgis else ([], [7, 4]))
    assert destination.taken(1) == ([], [])
    assert destination.saved()[0] == guest.saved()[0]
    destination.write(1, "ISENABLER0", 1 << 5)
    assert destination.taken(1) == (([5], []) if vsgis else ([], [5]))
    assert destination.host.gic.errors == []
    assert guest.user_read(1, "ISPENDR0") == 0b1011_0000


def test_what_is_restored_twice_arrives_once(guest):
    guest.use_vsgis()
    guest.vgic.send_sgi(0, 2)
    saved = guest.saved()
    for _ in range(2):
        guest.restore(saved)
    assert guest.taken(0) == ([2], [])
    assert guest.taken(0) == ([], [])


def test_ppis_are_raz_wi(guest):
    for name in ("IGROUPR0", "ISENABLER0", "ISPENDR0"):
        before = guest.read(0, name)
        guest.write(0, name, 0xFFFF_0000 | before)
        assert guest.read(0, name) == before


def test_userspace_enables_do_not_reach_the_gic_and_priorities_do(guest):
    """Linux' rule: after a reset by the monitor the GIC has the old enables, until the guest switches vSGIs anew."""
    guest.use_vsgis()
    config = guest.vgic.its_vm.vpes[0].sgi_config
    guest.user_write(0, "ICENABLER0", 0xFFFF)
    guest.user_write(0, "IPRIORITYR0", 0x4040_4040)
    assert guest.user_read(0, "ISENABLER0") == 0
    assert (config[1].enabled, config[1].priority) == (True, 0x40)
    guest.write(0, "ISENABLER0", 0xFFFF)
    guest.write(0, "ICENABLER0", 0xFFFF)
    guest.user_write(0, "ISENABLER0", 0b10)
    assert guest.user_read(0, "ISENABLER0") == 0b10
    assert not config[1].enabled


def test_only_the_first_run_moves_restored_sgis(guest):
    guest.vgic.distributor.user_write(at("GICD_CTLR"), GICD_CTLR.pack(nASSGIreq=1, EnableGrp1=1))
    guest.vgic.send_sgi(0, 3)
    assert guest.host.issued("VSGI") == 0
    guest.vgic.load(0, 0)
    issued = guest.host.issued("VSGI")
    assert issued > 0
    guest.vgic.put(0)
    guest.vgic.load(1, 1)
    assert guest.host.issued("VSGI") == issued
    assert guest.read(0, "ISPENDR0") == 1 << 3
