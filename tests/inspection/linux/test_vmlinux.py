# SPDX-License-Identifier: Apache-2.0
"""The dumped kernel by its debug information: what a drgn script of its own said when the dumps were made."""

import re
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gicmodel.errors import UnusableInput
from gicmodel.images.sources import read_dump, read_registers
from gicmodel.inspection import inspect
from gicmodel.inspection.linux import vmlinux as module
from gicmodel.inspection.linux.devices import KernelView, view_of
from gicmodel.inspection.linux.kernels import find_kernels
from gicmodel.inspection.linux.registers import registers_of
from gicmodel.inspection.linux.vmlinux import Vmlinux
from gicmodel.inspection.paths import paths_of
from gicmodel.inspection.rules import find
from tests.conftest import needed
from tests.inspection.linux import dumps
from tests.inspection.linux.debug_info import vmlinux
from tests.inspection.linux.dumps import changed

_GUEST = re.compile(
    r"      event (\d+) vINTID (\d+) -> vCPU (\d+) enabled (\w+) pending_latch (\w+) active (\w+) hw (\w+) "
    r"host irq (\d+) priority (\w+)"
)


def viewed(name, dump=None):
    return viewed_by(dump or dumps.dump(name), vmlinux(name))


def viewed_by(dump, path):
    found = find_kernels(dump)
    kernel = found.choose(None)
    view = view_of(dump, found, kernel, path)
    return registers_of(kernel, view), view


def inspected(name, dump=None):
    registers, view = viewed(name, dump)
    return inspect(dump or dumps.dump(name), registers, kernel=view)


@pytest.mark.parametrize("name", dumps.NAMES)
def test_handlers_and_irqs_are_those_of_the_facts(name):
    _, view = viewed(name)
    facts = dumps.handlers("v3crash" if name == "scrambled" else name)
    doorbells = {8192: (27, None), 8193: (28, None)} if name == "v4run" else {}
    assert {lpi: (one.irq, one.handlers) for lpi, one in view.interrupts.items()} == facts | doorbells
    assert view.broken == view.unread == {}


@pytest.mark.parametrize("name", dumps.NAMES)
def test_devices_are_those_of_the_facts_without_btf(name):
    _, view = viewed(name)
    found = {
        device.device_id: (
            device.itt,
            device.events_most,
            {
                event.event_id: (event.intid, event.cpu, event.vpe and (event.vintid, event.vpe.vpe_id, event.vpe.vpt))
                for event in device.events
            },
        )
        for device in view.devices[0]
    }
    assert found == dumps.devices("v3crash" if name == "scrambled" else name)


@pytest.mark.parametrize("name", dumps.NAMES)
def test_registers_are_those_of_struct_rdists(name):
    registers, _ = viewed(name)
    for frame, values in read_registers(dumps.DUMPS / f"{name}.kernel.toml").items():
        assert {key: registers[frame].get(key, 0) for key in values} == values


def test_cpus_are_those_that_there_can_be():
    _, view = viewed("v612run")
    assert [one.cpus for one in view.interrupts.values()] == ["0", "0", "1"]


def test_what_kvm_has_of_its_guest():
    _, view = viewed("v4run")
    facts = [match.groups() for line in dumps.facts("v4run") if (match := _GUEST.fullmatch(line))]
    told = [
        (one.event_id, one.vintid, one.vcpu, one.enabled, one.pending_latch, one.active, one.hw, one.host_irq)
        for one in view.guest_events
    ]
    assert [(*map(str, one), hex(row.priority)) for one, row in zip(told, view.guest_events, strict=True)] == facts
    assert {(one.pid, one.its, one.device_id) for one in view.guest_events} == {(118, 0x808_0000, 8)}
    assert [guest.pid for guest in view.guests.values()] == [118]


def test_the_way_of_an_interrupt_is_one_line():
    found = inspected("v4run")
    (row,) = found.events[(found.events["DeviceID"] == 0x10) & (found.events["EventID"] == 2)]
    (path,) = paths_of(found, np.array([row]))
    assert str(path) == (
        "device 0x10 (unknown, driver unknown) event 2: LPI 8200, irq 30 vfio-msix[2](0000:00:02.0) -> VM of pid 118, "
        "vPE 1 on redistributor 1 (resident), vINTID 8194, guest's device 0x8 event 2 of vCPU 1; "
        "VPT bit 1, KVM's latch 0: pending in hardware"
    )


def latch(name, vintid):
    """Where `pending_latch` of a guest's vINTID is, by what stands before it: intid (u32), line_level."""
    dump = dumps.dump(name)
    for segment in dump.segments:
        words = segment.data[: segment.data.size // 4 * 4].view("<u4")
        for row in np.flatnonzero(words == vintid).tolist():
            # struct vgic_irq: u32 intid; bool line_level, pending_latch, active, enabled, hw.
            if segment.data[4 * row + 4 :][:5].tolist() == [0, 0, 0, 1, 1]:
                return segment.address + 4 * row
    raise AssertionError


@pytest.mark.parametrize(("vintid", "verdict"), [(8193, "software"), (8194, "both")])
def test_kvms_latch_is_pending_in_software(vintid, verdict):
    place = latch("v4run", vintid)
    word = int.from_bytes(dumps.dump("v4run").read(place & -8, 8)[0].tobytes(), "little")
    damaged = changed(dumps.dump("v4run"), {place & -8: word | 1 << 8 * (place % 8 + 5)})
    found = inspected("v4run", damaged)
    verdicts = {path.intid: path.verdict for path in paths_of(found, found.events) if path.virtual}
    assert verdicts == {8192: "neither", 8193: "neither", 8194: "hardware"} | {vintid: verdict}


def test_a_device_whose_memory_is_zero_is_not_none():
    """That machine of QEMU was given the carved pages; the rest, with each struct msi_desc, is zero."""
    _, view = viewed_by(read_dump(dumps.DUMPS / "v3run-qemu-kdump.xz"), vmlinux("v3run"))
    assert len(view.interrupts) == 9
    assert {(one.device, one.driver) for one in view.interrupts.values()} == {(None, None)}


def test_another_builds_vmlinux_is_refused():
    path, other = vmlinux("v4run"), vmlinux("v612run")
    assert path != other
    dump = dumps.dump("v4run")
    found = find_kernels(dump)
    with pytest.raises(
        UnusableInput, match=r"is not the vmlinux with debug information of the dump's Linux 6\.1\.0-50"
    ):
        view_of(dump, found, found.choose(None), other)


@pytest.mark.parametrize("text", [b"", b"\x7fELF", b"text\n" * 100])
def test_what_is_no_vmlinux_is_one_line(tmp_path, text):
    needed("drgn")
    path, dump = tmp_path / "vmlinux", dumps.dump("v3run")
    path.write_bytes(text)
    found = find_kernels(dump)
    with pytest.raises(UnusableInput, match=r"vmlinux: is no(t the)? vmlinux"):
        view_of(dump, found, found.choose(None), path)


def test_without_drgn_it_is_told_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "drgn", None)
    dump = dumps.dump("v3run")
    found = find_kernels(dump)
    with pytest.raises(UnusableInput, match=r"--vmlinux needs drgn: pip install 'gicmodel\[vmcore\]'"):
        view_of(dump, found, found.choose(None), tmp_path)


def test_what_does_not_end_is_left(monkeypatch):
    """Reads are counted, whatever tree or list drgn follows."""
    path, dump = vmlinux("v4run"), dumps.dump("v4run")
    debugged = Vmlinux(dump, find_kernels(dump).choose(None), path)
    monkeypatch.setattr(module, "_MOST_READS", debugged._reads + 300)
    view = KernelView("cut short")
    debugged.tell(view)
    assert set(view.unread) == {"the kernel's interrupts", "KVM's VMs"}
    assert all("reads: what is followed does not end" in text for text in view.unread.values())
    registers, _ = viewed_by(dump, None)
    assert find(inspect(dump, registers, kernel=view)).counts == {"kernel-list-broken": 2}


PAGES = [
    (segment.address + first)
    for segment in dumps.dump("v4run").segments
    if segment.end - segment.address < 0x40000
    for first in range(0, segment.end - segment.address, 0x1000)
]


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.sampled_from(PAGES).flatmap(lambda page: st.integers(0, 511).map(lambda word: page + 8 * word)),
        st.one_of(
            st.integers(0, (1 << 64) - 1),
            st.sampled_from([0, 1, (1 << 64) - 1]),
            st.sampled_from(PAGES).map(lambda page: page - 0x4000_0000 + 0xFFFF_0000_0000_0000),
        ),
        min_size=1,
        max_size=200,
    )
)
def test_damaged_memory_is_a_view_or_a_refusal(places):
    try:
        found = inspected("v4run", changed(dumps.dump("v4run"), places))
    except UnusableInput:
        return
    find(found)
    paths_of(found, found.events)


@pytest.mark.parametrize(
    ("cpus", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 3, 8], "0-3,8"), ([1, 3, 5, 6], "1,3,5-6"), ([62, 63], "62-63")]
)
def test_cpus_are_written_as_linux_does(cpus, text):
    assert module._ranges(cpus) == text
