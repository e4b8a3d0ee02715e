# SPDX-License-Identifier: Apache-2.0
"""The real captures decode to what is known of them (tables/*/README.md, facts.json)."""

import json

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.images.segments import read_image
from gicmodel.inspection import PROFILES, inspect
from gicmodel.inspection.inspection import Dump
from gicmodel.layouts.its_tables import NO_DOORBELL
from tests.inspection.museum import CAPTURE, GUEST, HOST, TABLES, inspected

FACTS = json.loads((CAPTURE / "facts.json").read_text())


@pytest.fixture(scope="module")
def host():
    return inspected(*HOST)


@pytest.fixture(scope="module")
def guest():
    return inspected(*GUEST)


def rows(array, *names):
    return [tuple(row[name].item() for name in names) for row in array]


def test_profiles_are_detected_with_evidence(host, guest):
    assert (host.profile.name, host.architecture) == ("qemu", "4.0")
    assert (guest.profile.name, guest.architecture) == ("kvm-rev0", "3")
    assert host.evidence[0] == "qemu: 13 of 13 entries make sense"
    assert guest.evidence[-1] == "kvm-rev0: 8 of 8 entries make sense"


def test_host_devices(host):
    known = [(int(device, 16), int(itt, 16), size) for device, itt, size in FACTS["DTE"]]
    assert rows(host.devices, "DeviceID", "ITT_addr", "Size") == known


def test_host_events(host):
    virtual = host.events[host.events["virtual"]]
    assert rows(virtual, "DeviceID", "EventID", "INTID", "vPEID", "Doorbell", "RDbase", "pending") == [
        (8, 0, 8192, 1, 8197, 0, 0),
        (8, 1, 8193, 0, 8196, 1, 1),
        (8, 2, 8194, 1, 8197, 0, 1),
    ]
    physical = host.events[~host.events["virtual"]]
    assert rows(physical, "DeviceID", "EventID", "INTID", "RDbase") == [
        (16, 0, 8192, 0),
        (16, 1, 8193, 0),
        (16, 2, 8194, 1),
        (0xFFFF, 0, 8196, 1),
        (0xFFFF, 1, 8197, 0),
    ]
    assert set(physical["Doorbell"].tolist()) == {NO_DOORBELL}


def test_host_vpes(host):
    known = [(vpe, int(vpt, 16), size, rdbase) for vpe, vpt, size, rdbase in FACTS["VTE"]]
    assert rows(host.vpes, "vPEID", "VPT_addr", "VPT_size", "RDbase") == known


def test_host_pending(host):
    assert rows(host.pending, "virtual", "target", "INTID", "events") == [(True, 0, 8193, 1), (True, 1, 8194, 1)]


def test_host_queue(host):
    (queue,) = host.queues
    assert (queue.creadr, queue.cwriter, queue.waiting, queue.stalled) == (0xFD60, 0xFD60, 0, False)
    assert queue.commands[-1].text == "SYNC RDbase=0x0"
    assert {command.state for command in queue.commands} == {"done"}


def test_guest_devices_and_events(guest):
    known = [(int(device, 16), int(itt, 16), size) for device, itt, size in FACTS["guest"]["DTE"]]
    assert rows(guest.devices, "DeviceID", "ITT_addr", "Size") == known
    assert rows(guest.events, "DeviceID", "EventID", "INTID", "ICID", "RDbase", "pending") == [
        (8, 0, 8192, 1, 1, 0),
        (8, 1, 8193, 0, 0, 1),
        (8, 2, 8194, 1, 1, 1),
        (16, 0, 8196, 1, 1, 0),
        (16, 1, 8197, 1, 1, 0),
        (16, 2, 8198, 1, 1, 0),
    ]


def test_guest_collections_and_pending(guest):
    assert rows(guest.collections, "ICID", "RDbase") == [(0, 0), (1, 1)]
    assert rows(guest.pending, "virtual", "target", "INTID") == [(False, 0, 8193), (False, 1, 8194)]


def test_places_lead_back_to_the_bytes(host):
    contents = b"".join(segment.data.tobytes() for segment in host.dump.segments)
    for row in host.events:
        word = int.from_bytes(next(host.dump.pieces(int(row["address"]), 8)).octets.tobytes(), "little")
        assert word >> 2 & 0xFF_FFFF == row["INTID"]
    assert len(contents) == host.dump.octets


def test_what_is_missing_is_named(host):
    assert [*host.missing] == ["GITS0_TYPER"]


def test_without_registers_nothing_can_be_told():
    with pytest.raises(UnusableInput, match="no register"):
        inspect(Dump(read_image(HOST[0])), {})


def test_a_given_profile_that_does_not_fit_is_refused():
    with pytest.raises(UnusableInput, match="GITS0_BASER2: entries are 8 bytes; VPE_CONFIGURATION has 32"):
        inspected(*HOST, profile=PROFILES["gicmodel"])


def test_opaque_tables_still_tell_what_is_architected():
    opaque = inspected(*HOST, profile=PROFILES["opaque"])
    assert (opaque.devices.size, opaque.events.size) == (0, 0)
    assert {kind: len(found.ids) for kind, found in opaque.its[0].valid_tables.items()} == {
        "device": 3,
        "collection": 2,
        "vpe": 2,
    }
    guest = inspected(*GUEST, profile=PROFILES["opaque"])
    assert rows(guest.pending, "target", "INTID") == [(0, 8193), (1, 8194)]


def test_a_limit_keeps_the_first_events():
    limited = inspected(*GUEST, limit=6)
    assert rows(limited.events, "DeviceID", "EventID") == [(8, 0), (8, 1)]
    assert limited.truncated == ["events of devices", "pending tables"]


def test_vpes_of_an_unknown_format_are_those_that_the_queue_has_mapped():
    golden = TABLES / "gicmodel-v4.1-2vcpu"
    image, registers = golden / "source-host.elf.xz", golden / "source-host.toml"
    known, opaque = inspected(image, registers), inspected(image, registers, profile=PROFILES["opaque"])
    names = ("vPEID", "RDbase", "VPT_addr", "VPT_size", "VCONF_addr", "Default_Doorbell")
    assert rows(opaque.vpes, *names) == rows(known.vpes, *names)
    assert rows(opaque.pending, "virtual", "target", "INTID") == [(True, 0, 8194), (True, 1, 8193), (True, 1, 8195)]
