# SPDX-License-Identifier: Apache-2.0
"""What Linux 6.12's KVM left in a guest's RAM, resumed on a GICv4.1 host and saved again.

The tables are wiped in between, so that the bytes which come back are written, not left over.
"""

from pathlib import Path

import pytest

from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.images.registers import write_registers
from gicmodel.images.segments import read_image, write_elf
from gicmodel.images.sources import read_registers
from gicmodel.layouts.kvm_abi import KVM_LEVEL1
from gicmodel.layouts.lpi_tables import FIRST_LPI_BYTE, table_bytes
from gicmodel.migration import DeviceState, Host, Resume, config_for
from gicmodel.migration.guest import send_command
from gicmodel.migration.machine import pending_vlpis
from gicmodel.migration.migrate import DEFAULTS, FLUSH_PATH
from gicmodel.migration.saved_guest import SavedGuest
from gicmodel.migration.state import guest_registers
from gicmodel.migration.steps import no_progress
from gicmodel.migration.trial import run_trial
from tests.migration.machines import DISABLED, new_host, new_vm

CAPTURE = Path(__file__).parents[2] / "tables" / "linux-6.12-kvm-2vcpu"
IMAGE = CAPTURE / "guest-saved-tables.elf.xz"
PENDING = {(0, 8193), (1, 8194)}


@pytest.fixture
def registers():
    return read_registers(CAPTURE / "registers.toml")


@pytest.fixture
def guest(registers):
    return SavedGuest(IMAGE, read_image(IMAGE), registers)


def resume(guest):
    """The guest on a host of 2 CPUs, with all its events forwarded."""
    config = config_for(GicConfig(redistributors=2), guest.lpis)
    resumed = Resume(guest, Host("destination", config))
    for step in resumed.plan[: -len(FLUSH_PATH)]:
        resumed.take(step)
    return resumed.target


def save(guest, vm):
    vm.set_devices(DeviceState.STOP_COPY)
    vm.vgic.its[0].save_tables()
    vm.flush_pending_tables()


def wipe(vm):
    """Zero everything that the save path writes; how many bytes were not zero."""
    its, memory = vm.vgic.its[0], vm.memory
    level2 = KVM_LEVEL1.unpack(memory.read_u64(its.device_table.address))["Physical_Address"]
    ranges = [(level2, 0x1_0000), (its.collection_table.address, 0x1_0000)]
    ranges += [(device.itt_addr, 8 << device.num_eventid_bits) for device in its.devices.values()]
    ranges += [(table + FIRST_LPI_BYTE, table_bytes(16) - FIRST_LPI_BYTE) for table in vm.vgic.dist.pending_tables]
    wiped = sum(len(memory.read(*where).replace(b"\0", b"")) for where in ranges)
    for address, length in ranges:
        memory.zero(address, length)
    return wiped


def test_what_is_pending_in_the_image(guest):
    assert guest.pending() == PENDING


def test_exactly_that_is_pending_on_each_vpe_after_the_resume(guest):
    assert pending_vlpis(resume(guest)) == PENDING


def test_every_event_is_a_vlpi_on_the_destination(guest):
    vm = resume(guest)
    rows = vm.vgic.lpis.rows[vm.vgic.lpis.slots()]
    assert rows["intid"].tolist() == [8192, 8193, 8194, 8196, 8197, 8198]
    assert rows["hw"].all()
    assert [(device.guest_device_id, device.events) for device in vm.devices] == [(8, (0, 1, 2)), (16, (0, 1, 2))]


def test_resuming_consumes_the_two_pending_bits_and_nothing_else(guest):
    image = guest.memory.octets.copy()
    resume(guest)
    assert (guest.memory.octets != image).sum() == 2
    assert not guest.is_identical()


def test_wiped_tables_come_back_byte_for_byte(guest):
    image = guest.memory.octets.copy()
    vm = resume(guest)
    assert wipe(vm) > 30
    assert not guest.is_identical()
    save(guest, vm)
    assert guest.is_identical()
    assert (guest.memory.octets == image).all()


def test_each_is_acknowledged_once_on_its_vcpu(guest):
    vm = resume(guest)
    save(guest, vm)
    assert list(vm.deliver()) == sorted(PENDING)
    assert list(vm.deliver()) == []


def test_an_interrupt_taken_in_between_is_not_in_the_tables_saved_again(guest):
    vm = resume(guest)
    assert len(list(vm.deliver())) == 2
    save(guest, vm)
    assert not guest.is_identical()
    assert guest.pending() == set()


def test_the_guest_goes_on_from_the_destination(guest):
    """Its devices run there and its vLPIs come directly: event 2 of device 16 is 8198, which Linux had on vCPU 0."""
    vm = resume(guest)
    list(vm.deliver())
    vcpu, _ = vm.target_of(16, 2)
    vm.devices[1].state = vm.devices[1].state.RUNNING
    vm.devices[1].fire([2])
    assert list(vm.deliver()) == [(vcpu, 8198)]


def test_the_verdict(guest):
    verdict = run_trial(GicConfig(redistributors=2), guest, DEFAULTS, no_progress, lambda machines: None)
    assert verdict.passed
    assert verdict.image_identical is True
    assert (verdict.vlpis, set(verdict.expected), verdict.pending_after) == (6, PENDING, 2)
    assert verdict.delivered == dict.fromkeys(PENDING, 1)
    assert [step.name for step in verdict.steps] == [
        "restore redistributors",
        "restore ITS registers",
        "restore ITS tables",
        "set forwarding",
        "pause devices",
        "flush ITS tables",
        "flush pending tables",
    ]


def test_a_host_that_cannot_save_it(guest):
    config = GicConfig(architecture="4.0", redistributors=2)
    verdict = run_trial(config, guest, DEFAULTS, no_progress, lambda machines: None)
    assert str(verdict.failure).startswith("flush ITS tables: EACCES: ")
    assert (verdict.image_identical, verdict.lost, verdict.passed) == (None, [], False)


def test_a_bit_of_an_lpi_that_is_not_mapped_is_left_alone(guest, registers):
    """8195 has no event. KVM neither reads nor clears its bit."""
    table = registers["GICR0"]["PENDBASER"] & ~0xFFFF & (1 << 52) - 1
    guest.memory.write_u8(table + FIRST_LPI_BYTE, 0x0A)
    assert guest.pending() == PENDING | {(0, 8195)}
    saved = []

    def look(machines):
        saved.append(guest.pending())

    verdict = run_trial(GicConfig(redistributors=2), guest, DEFAULTS, no_progress, look)
    assert (set(verdict.expected), verdict.lost) == (PENDING, [])
    assert saved == [PENDING | {(0, 8195)}]
    assert guest.pending() == {(0, 8195)}


def test_an_interrupt_that_the_guest_has_disabled(guest, registers):
    table = registers["GICR0"]["PROPBASER"] & ~0xFFF & (1 << 52) - 1
    guest.memory.write_u8(table + 1, DISABLED)
    verdict = run_trial(GicConfig(redistributors=2), guest, DEFAULTS, no_progress, lambda machines: None)
    assert (verdict.pending_after, verdict.held, verdict.lost) == (2, {(0, 8193)}, [])
    assert set(verdict.delivered) == {(1, 8194)}


@pytest.mark.parametrize(("vcpus", "devices", "vectors"), [(2, 1, 2), (5, 3, 3), (1, 0, 1)])
def test_a_guest_that_a_gicv41_host_saved_resumes_the_same_way(tmp_path, vcpus, devices, vectors):
    source = new_vm(vcpus, devices, vectors, new_host(cpus=2))
    for device in source.devices:
        device.fire([0, vectors - 1])
    pending = pending_vlpis(source)
    source.vgic.its[0].save_tables()
    source.vgic.save_pending_tables()
    write_elf(tmp_path / "guest.elf", source.memory)
    write_registers(tmp_path / "guest.toml", guest_registers(source.vgic))
    registers = read_registers(tmp_path / "guest.toml")
    guest = SavedGuest(tmp_path / "guest.elf", read_image(tmp_path / "guest.elf"), registers)
    assert guest.pending() == pending
    vm = resume(guest)
    assert pending_vlpis(vm) == pending
    if devices:
        assert wipe(vm) > 0
    save(guest, vm)
    assert guest.is_identical()
    assert sorted(vm.deliver()) == sorted(pending)


def test_a_guest_that_the_host_kernel_would_not_survive(tmp_path):
    """Two events of an LPI, and the first has no vCPU: KVM forwards the second through a null pointer."""
    source = new_vm(2, 1, 1, new_host(cpus=2))
    table = source.vgic.its[0].devices[source.devices[0].guest_device_id].itt_addr + 0x1000
    send_command(source.vgic, "MAPD", DeviceID=1, ITT_addr=table, Size=0, V=1)
    for event_id, icid in enumerate((77, 0)):
        send_command(source.vgic, "MAPTI", DeviceID=1, EventID=event_id, pINTID=9000, ICID=icid)
    source.vgic.its[0].save_tables()
    write_elf(tmp_path / "guest.elf", source.memory)
    write_registers(tmp_path / "guest.toml", guest_registers(source.vgic))
    path = tmp_path / "guest.elf"
    guest = SavedGuest(path, read_image(path), read_registers(tmp_path / "guest.toml"))
    with pytest.raises(UnusableInput, match="Linux would not survive it: device 0x1, event 0x1: set_forwarding"):
        resume(guest)


def test_a_register_that_is_missing(registers):
    del registers["GICR1"]["PENDBASER"]
    with pytest.raises(UnusableInput, match=r"lack PENDBASER in \[GICR1\]"):
        SavedGuest(IMAGE, read_image(IMAGE), registers)


@pytest.mark.parametrize("vcpus", [0, 513])
def test_a_number_of_vcpus_that_no_vm_has(registers, vcpus):
    registers["guest"]["vcpus"] = vcpus
    with pytest.raises(UnusableInput, match=rf"\[guest\] vcpus is {vcpus}: from 1 to 512"):
        SavedGuest(IMAGE, read_image(IMAGE), registers)


@pytest.mark.parametrize("base", [0x4000_0001, 0x5000_0000])
def test_ram_that_cannot_hold_the_image(registers, base):
    registers["guest"]["ram_base"] = base
    with pytest.raises(UnusableInput, match=rf"\[guest\] ram_base is {base:#x}: page aligned, at most"):
        SavedGuest(IMAGE, read_image(IMAGE), registers)


def test_a_window_of_ram_that_is_absurd(registers):
    segments = read_image(IMAGE)
    far = [type(segments[0])(segments[0].address + (1 << 45), segments[0].data)]
    registers["guest"]["ram_base"] = 0
    with pytest.raises(UnusableInput, match=r"ram_base is 0x0, 0x2000\w* bytes below the image's end"):
        SavedGuest(IMAGE, far, registers)
