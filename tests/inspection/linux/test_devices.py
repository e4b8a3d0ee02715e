# SPDX-License-Identifier: Apache-2.0
"""The kernel's own structures, by its BTF: what drgn reads with debug information, or what is broken in them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.inspection import PROFILES, inspect
from gicmodel.inspection.linux import devices
from gicmodel.inspection.linux.btf import read_btf
from gicmodel.inspection.linux.devices import KernelDevice, KernelEvent, KernelView, KernelVpe, view_of
from gicmodel.inspection.linux.kernels import find_kernels
from gicmodel.inspection.linux.registers import registers_of
from gicmodel.inspection.rules import find
from tests.inspection.linux import dumps
from tests.inspection.linux.dumps import changed

LINEAR = 0xFFFF_0000_0000_0000 - 0x4000_0000
HEAD = 0x4210_9A50 - 80 + 336 + LINEAR
"""its_device_list of v3crash's its_node."""


def viewed(dump):
    found = find_kernels(dump)
    kernel = found.choose(None)
    view = view_of(dump, found, kernel)
    return registers_of(kernel, view), view


FOUND = find_kernels(dumps.dump("v3crash"))
BTF = next(btf for _, btf in read_btf(dumps.dump("v3crash"), FOUND.places) if btf.structure("its_node"))


def damaged(places):
    """v3crash with other words, by the BTF of the sound one, which takes most of the time to read."""
    dump, kernel = changed(dumps.dump("v3crash"), places), FOUND.choose(None)
    view = devices._devices_of(dump, kernel, BTF, "its BTF")
    return inspect(dump, registers_of(kernel, view), kernel=view)


def inspected(dump, **options):
    registers, view = viewed(dump)
    return inspect(dump, registers, kernel=view, **options)


@pytest.mark.parametrize("name", dumps.WITH_BTF)
def test_devices_are_those_that_drgn_reads(name):
    _, view = viewed(dumps.dump(name))
    assert view.broken == {}
    found = {}
    for device in view.devices[0]:
        events = {}
        for event in device.events:
            vpe = event.vpe and (event.vintid, event.vpe.vpe_id, event.vpe.vpt)
            events[event.event_id] = (event.intid, event.cpu, vpe)
        found[device.device_id] = (device.itt, device.events_most, events)
    assert found == dumps.devices("v3crash" if name == "scrambled" else name)


def test_a_kernel_without_btf_says_nothing():
    assert viewed(dumps.dump("v3run"))[1] == KernelView()


def test_two_devices_of_one_device_id_hide_none_of_their_vpes():
    vpes = [KernelVpe(number, 0x4000_0000 + (number << 16), None, number, False) for number in range(2)]
    devices = [KernelDevice(8, 0x5000_0000, 2, True, [KernelEvent(0, 8192, 0, 8193, vpe)]) for vpe in vpes]
    assert KernelView(devices={0: devices}).vpes() == dict(enumerate(vpes))


def test_residency_and_tables_of_a_gicv4_host():
    registers, _ = viewed(dumps.dump("v4run"))
    assert [registers[f"GICR{cpu}"]["VPENDBASER"] for cpu in (0, 1)] == [0x8000000043660000, 0x8000000043680000]
    assert [registers[f"GICR{cpu}"]["VPROPBASER"] for cpu in (0, 1)] == [0x4365000F, 0x4365000F]
    assert inspected(dumps.dump("v4run")).vpes["resident"].tolist() == [0, 1]


@pytest.mark.parametrize("name", dumps.WITH_BTF)
def test_tables_and_kernel_agree(name):
    assert find(inspected(dumps.dump(name))).counts == {}


COLUMNS = ["DeviceID", "EventID", "INTID", "ICID", "RDbase", "configuration", "pending", "address"]


@pytest.mark.parametrize("from_kernel", [True, False])
def test_a_private_format_has_the_mapping_of_its_twin(from_kernel):
    registers, view = viewed(dumps.dump("scrambled"))
    found = inspect(dumps.dump("scrambled"), registers, kernel=view if from_kernel else None)
    twin = inspected(dumps.dump("v3crash"))
    assert found.profile.name == "opaque"
    assert found.events[COLUMNS].tolist() == twin.events[COLUMNS].tolist()
    assert (
        found.devices[["DeviceID", "ITT_addr", "Size"]].tolist()
        == twin.devices[["DeviceID", "ITT_addr", "Size"]].tolist()
    )
    assert found.pending["events"].tolist() == [1]
    who = "the kernel's structures, by its BTF at 0x4116a1e0" if from_kernel else "commands that stand in GITS0's queue"
    assert who in found.evidence[-1]
    assert "device" in found.its[0].told
    assert found.its[0].events.told == set(found.devices["DeviceID"].tolist())


def test_an_overwritten_queue_does_not_tell_that_there_is_nothing():
    """On a GICv4.0 host doorbells' CLEAR and SYNC have overwritten all that mapped."""
    registers, _ = viewed(dumps.dump("v4run"))
    found = inspect(dumps.dump("v4run"), registers, PROFILES["opaque"])
    assert "older ones are overwritten" in found.evidence[-1]
    assert not found.its[0].told


def device_at(dump, device_id):
    """Where the structure of a device is: its `device_id` behind the ITT's pointer."""
    _, view = viewed(dump)
    itt = next(device.itt for device in view.devices[0] if device.device_id == device_id)
    for segment in dump.segments:
        words = segment.data[: segment.data.size // 8 * 8].view("<u8")
        for row in np.flatnonzero(words == np.uint64(itt + LINEAR)).tolist():
            if device_id in words[row : row + 4].tolist() or any(
                word & 0xFFFF_FFFF == device_id or word >> 32 == device_id for word in words[row + 1 : row + 4].tolist()
            ):
                return segment.address + 8 * row
    raise AssertionError


def test_an_itt_entry_that_is_not_the_kernels_is_a_finding():
    dump = dumps.dump("v3crash")
    entry = inspected(dump).events["address"][4]
    word = int.from_bytes(dump.gather(np.array([entry], np.int64), 8)[0].tobytes(), "little")
    found = inspected(changed(dump, {int(entry): word ^ 1 << 3}))
    sentences = [one.sentence for one in find(found).told if one.rule.identifier == "kernel-differs"]
    assert len(sentences) == 1
    assert "the kernel LPI 8197 cpu 0" in sentences[0]


@pytest.mark.parametrize("there", [0, 0xFFFF_0000_0123_4560, HEAD, HEAD + 8, 1 << 63])
def test_a_list_that_does_not_lead_back_is_said_to_be_broken(there):
    """`next` in the node's list of devices: nowhere, back at once, in between."""
    damaged = changed(dumps.dump("v3crash"), {HEAD - LINEAR: there})
    _, view = viewed(damaged)
    found = find(inspected(damaged)).counts
    if there == HEAD:
        assert view.devices == {0: []}
        assert found
    else:
        assert view.broken[0]
        assert found["kernel-list-broken"] == 1


SOUND = damaged({})
WHOLE = SOUND.kernel
PLACE = device_at(dumps.dump("v3crash"), 0x10)


@given(
    st.dictionaries(
        st.integers(-24, 24).map(lambda word: PLACE + 8 * word),
        st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, 1, PLACE + LINEAR, LINEAR, (1 << 64) - 1])),
        min_size=1,
        max_size=3,
    )
)
def test_a_damaged_device_is_refused_or_differs_or_changes_nothing(places):
    """Whatever is damaged in the driver's structure: no wrong event is told without a word."""
    found = damaged(places)
    assert found.events[COLUMNS].tolist() == SOUND.events[COLUMNS].tolist()
    told = {key: str(event) for key, event in found.kernel.events().items()}
    if told != {key: str(event) for key, event in WHOLE.events().items()}:
        assert found.kernel.broken or {"kernel-differs", "mapping-doubtful"} & find(found).counts.keys()
