# SPDX-License-Identifier: Apache-2.0
"""The real captures are what their README says, read with plain byte arithmetic and no layout of the package."""

import json
import re
from pathlib import Path

import pytest

from gicmodel.images.files import opened
from gicmodel.images.segments import memory_for, read_image
from gicmodel.images.sources import read_registers

CAPTURE = Path(__file__).parent.parent / "tables" / "linux-6.12-kvm-2vcpu"
FACTS = json.loads((CAPTURE / "facts.json").read_text())
PAGE_64K = 0x10000


def bits(word, high, low):
    return word >> low & (1 << high - low + 1) - 1


def pending(memory, table, table_bytes=1 << 13):
    """INTIDs whose bit is set: bit INTID % 8 of byte INTID // 8."""
    octets = memory.read(table, table_bytes)
    return [intid for intid in range(8192, 8 * table_bytes) if octets[intid // 8] >> intid % 8 & 1]


def level2_address(memory, level1, identifier, entry_bytes=8):
    """Where an entry of a two-level table of 64 KiB pages is (IHI0069, GITS_BASER.Indirect)."""
    entries = PAGE_64K // entry_bytes
    pointer = memory.read_u64(level1 + 8 * (identifier // entries))
    assert bits(pointer, 63, 63) == 1
    return (bits(pointer, 51, 16) << 16) + identifier % entries * entry_bytes


@pytest.fixture
def guest():
    return memory_for(read_image(CAPTURE / "guest-saved-tables.elf.xz"))


@pytest.fixture
def host():
    return memory_for(read_image(CAPTURE / "host-vm-stopped.elf.xz"))


@pytest.fixture
def guest_registers():
    return read_registers(CAPTURE / "registers.toml")


@pytest.fixture
def host_registers():
    return read_registers(CAPTURE / "host-vm-stopped.toml")


def test_guest_devices_and_events(guest, guest_registers):
    """KVM's ITS table ABI revision 0 (Linux, Documentation/virt/kvm/devices/arm-vgic-its.rst)."""
    baser = guest_registers["GITS0"]["BASER0"]
    found = {}
    for device_id in (8, 16):
        dte = guest.read_u64(level2_address(guest, bits(baser, 47, 16) << 16, device_id))
        assert bits(dte, 63, 63) == 1
        itt, event_id_bits = bits(dte, 48, 5) << 8, bits(dte, 4, 0) + 1
        ites = [guest.read_u64(itt + 8 * event_id) for event_id in range(1 << event_id_bits)]
        found[device_id] = (itt, event_id_bits, [bits(ite, 47, 16) for ite in ites if ite])
    assert found == {8: (0x4426DA00, 2, [8192, 8193, 8194]), 16: (0x43AA2E00, 2, [8196, 8197, 8198])}
    assert [[int(device, 16), int(itt, 16)] for device, itt, _ in FACTS["guest"]["DTE"]] == [
        [device_id, itt] for device_id, (itt, _, _) in found.items()
    ]


def test_guest_device_chain_ends(guest):
    first, second = (guest.read_u64(0x43E8_0000 + 8 * device_id) for device_id in (8, 16))
    assert bits(first, 62, 49) == 16 - 8
    assert bits(second, 62, 49) == 0


def test_guest_collections(guest, guest_registers):
    table = bits(guest_registers["GITS0"]["BASER1"], 47, 16) << 16
    ctes = [guest.read_u64(table + 8 * n) for n in range(3)]
    assert [(bits(cte, 63, 63), bits(cte, 51, 16), bits(cte, 15, 0)) for cte in ctes] == [
        (1, 0, 0),
        (1, 1, 1),
        (0, 0, 0),
    ]


def test_guest_pending_and_enabled(guest, guest_registers):
    tables = [guest_registers[frame]["PENDBASER"] & 0xF_FFFF_FFFF_0000 for frame in ("GICR0", "GICR1")]
    assert [pending(guest, table) for table in tables] == [[8193], [8194]]
    assert {hex(table): pending(guest, table) for table in tables} == FACTS["guest"]["pending_bits"]
    configuration = guest_registers["GICR0"]["PROPBASER"] & 0xF_FFFF_FFFF_F000
    enabled = [8192 + n for n, octet in enumerate(guest.read(configuration, PAGE_64K - 8192)) if octet & 1]
    assert enabled == [8192, 8193, 8194, 8196, 8197, 8198]


def test_guest_registers_point_where_the_facts_say(guest_registers):
    facts = FACTS["guest"]
    its = guest_registers["GITS0"]
    assert bits(its["BASER0"], 47, 16) << 16 == int(facts["devices"], 16)
    assert bits(its["BASER1"], 47, 16) << 16 == int(facts["collections"], 16)
    assert bool(bits(its["BASER0"], 62, 62)) is facts["indirect_devices"]
    assert (bits(its["BASER0"], 58, 56), bits(its["BASER1"], 58, 56)) == (1, 4)
    for register in ("BASER0", "BASER1"):
        assert (bits(its[register], 63, 63), bits(its[register], 52, 48) + 1, bits(its[register], 9, 8)) == (1, 8, 2)
    for n, table in enumerate(facts["pending"]):
        frame = guest_registers[f"GICR{n}"]
        assert frame["PENDBASER"] & 0xF_FFFF_FFFF_0000 == int(table, 16)
        assert frame["PROPBASER"] & 0xF_FFFF_FFFF_F000 == int(facts["property"], 16)
        assert frame["CTLR"] & 1
    assert guest_registers["guest"] == {"ram_base": 0x4000_0000, "vcpus": 2}


def test_host_devices_and_vpes(host, host_registers):
    """QEMU's layouts: hw/intc/arm_gicv3_its.c, DTE and VTE."""
    its = host_registers["GITS0"]
    for device_id, itt, size in FACTS["DTE"]:
        level1 = bits(its["BASER0"], 47, 16) << 16
        dte = host.read_u64(level2_address(host, level1, int(device_id, 16)))
        assert (bits(dte, 0, 0), bits(dte, 5, 1), bits(dte, 49, 6) << 8) == (1, size, int(itt, 16))
    for vpe_id, vpt, size, rdbase in FACTS["VTE"]:
        level1 = bits(its["BASER2"], 47, 16) << 16
        vte = host.read_u64(level2_address(host, level1, vpe_id))
        assert bits(vte, 0, 0) == 1
        assert (bits(vte, 5, 1), bits(vte, 41, 6) << 16, bits(vte, 57, 42)) == (size, int(vpt, 16), rdbase)


def test_host_pending_vlpis(host):
    assert [pending(host, int(vpt, 16)) for _, vpt, _, _ in FACTS["VTE"]] == [[8193], [8194]]


def test_host_registers_are_the_last_ones_written(host_registers):
    its_offsets = {0x0: "CTLR", 0x80: "CBASER", 0x88: "CWRITER"} | {0x100 + 8 * n: f"BASER{n}" for n in range(8)}
    offsets = {0x0: "CTLR", 0x70: "PROPBASER", 0x78: "PENDBASER", 0x20070: "VPROPBASER", 0x20078: "VPENDBASER"}
    write = re.compile(r"(ITS|redistributor (0x\d)) write: offset (0x[0-9a-f]+) data (0x[0-9a-f]+)")
    written = {"GITS0": {}, "GICR0": {}, "GICR1": {}}
    with opened(CAPTURE / "host-vm-stopped.trace.xz") as trace:
        for match in write.finditer(trace.read().decode()):
            unit, redistributor, offset, data = match.groups()
            frame, names = ("GITS0", its_offsets) if unit == "ITS" else (f"GICR{int(redistributor, 16)}", offsets)
            if int(offset, 16) in names:
                written[frame][names[int(offset, 16)]] = int(data, 16)
    written["GITS0"]["CREADR"] = written["GITS0"]["CWRITER"]
    assert host_registers == written
