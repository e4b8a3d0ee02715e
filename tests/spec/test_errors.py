# SPDX-License-Identifier: Apache-2.0
"""Every command error that the oracle raises, and the order of the checks."""

import inspect
import re
from dataclasses import replace

import pytest

from gicmodel.config import GicConfig
from gicmodel.spec import AbstractGic
from gicmodel.spec.gic import COMMANDS

VPT, WIDE_VPT = 0x9001_0000, 0x9002_0000
BAD_DEVICE, BAD_ICID, BAD_VPE, BAD_RD = 64, 16, 8, 4
"""The first ID that does not exist, of each kind."""

PHYSICAL = {"DeviceID": 1, "EventID": 0}
"""Leads to LPI 8192 of collection 0."""
VIRTUAL = {"DeviceID": 1, "EventID": 1}
"""Leads to vLPI 20000 of vPE 0, which has 16 vINTID bits."""
LOST = {"DeviceID": 1, "EventID": 2}
"""Leads to collection 1, which is not mapped."""
LOST_VIRTUAL = {"DeviceID": 1, "EventID": 3}
"""Leads to vPE 1, which is not mapped."""
TOO_WIDE = {"DeviceID": 1, "EventID": 4}
"""Leads to vLPI 20000 of vPE 2, which has 14 vINTID bits."""
FREE = {"DeviceID": 1, "EventID": 7}
BAD_EVENT = {"DeviceID": 1, "EventID": 8}
UNMAPPED = {"DeviceID": 2, "EventID": 0}
OUT_OF_RANGE = {"DeviceID": BAD_DEVICE, "EventID": 0}


@pytest.fixture
def populated() -> AbstractGic:
    oracle = AbstractGic(GicConfig(redistributors=BAD_RD, nid=False), devices=64, collections=16, vpes=8)
    program: list[tuple[str, dict[str, int]]] = [
        ("MAPD", {"DeviceID": 1, "Size": 2, "ITT_addr": 0x1000, "V": 1}),
        ("MAPC", {"ICID": 0, "RDbase": 0, "V": 1}),
        ("VMAPP", {"vPEID": 0, "V": 1, "Alloc": 1, "VPT_addr": VPT, "VPT_size": 15, "Default_Doorbell": 1023}),
        ("VMAPP", {"vPEID": 2, "V": 1, "Alloc": 1, "VPT_addr": WIDE_VPT, "VPT_size": 13, "Default_Doorbell": 1023}),
        ("MAPTI", {**PHYSICAL, "pINTID": 8192, "ICID": 0}),
        ("MAPTI", {**LOST, "pINTID": 8193, "ICID": 1}),
        ("VMAPTI", {**VIRTUAL, "vPEID": 0, "vINTID": 20000, "Doorbell": 1023}),
        ("VMAPTI", {**LOST_VIRTUAL, "vPEID": 1, "vINTID": 8192, "Doorbell": 1023}),
        ("VMAPTI", {**TOO_WIDE, "vPEID": 2, "vINTID": 20000, "Doorbell": 1023}),
    ]
    for mnemonic, fields in program:
        assert oracle.execute(0, mnemonic, **fields) == 0
    return oracle


MAPPING = {"V": 1, "VPT_addr": 0x9003_0000, "VPT_size": 15, "Default_Doorbell": 1023, "Alloc": 1}

ERRORS: list[tuple[int, str, dict[str, int]]] = [
    (0x010801, "MAPD", {"DeviceID": BAD_DEVICE, "V": 0}),
    (0x010802, "MAPD", {"DeviceID": 1, "Size": 16, "V": 1}),
    (0x010903, "MAPC", {"ICID": BAD_ICID, "RDbase": BAD_RD, "V": 1}),
    (0x010902, "MAPC", {"ICID": 0, "RDbase": BAD_RD, "V": 1}),
    (0x010902, "MAPC", {"ICID": 0, "RDbase": 0x1_0000, "V": 1}),
    (0x010A01, "MAPTI", {**OUT_OF_RANGE, "ICID": BAD_ICID}),
    (0x010A03, "MAPTI", {**UNMAPPED, "ICID": BAD_ICID}),
    (0x010A04, "MAPTI", {**UNMAPPED, "pINTID": 1}),
    (0x010A05, "MAPTI", {**BAD_EVENT, "pINTID": 1}),
    (0x010A06, "MAPTI", {**FREE, "pINTID": 8191}),
    (0x010A06, "MAPTI", {**FREE, "pINTID": 0x1_0000}),
    (0x010A06, "MAPTI", {**FREE, "pINTID": 1023}),
    (0x010B01, "MAPI", OUT_OF_RANGE),
    (0x010B03, "MAPI", {**PHYSICAL, "ICID": BAD_ICID}),
    (0x010B04, "MAPI", UNMAPPED),
    (0x010B05, "MAPI", BAD_EVENT),
    (0x010B06, "MAPI", FREE),
    (0x010101, "MOVI", {**OUT_OF_RANGE, "ICID": BAD_ICID}),
    (0x010104, "MOVI", UNMAPPED),
    (0x010105, "MOVI", BAD_EVENT),
    (0x010107, "MOVI", FREE),
    (0x010110, "MOVI", VIRTUAL),
    (0x010109, "MOVI", {**LOST, "ICID": BAD_ICID}),
    (0x010103, "MOVI", {**PHYSICAL, "ICID": BAD_ICID}),
    (0x010109, "MOVI", {**PHYSICAL, "ICID": 1}),
    (0x010E01, "MOVALL", {"RDbase": BAD_RD, "RDbase2": 0}),
    (0x010E01, "MOVALL", {"RDbase": 0, "RDbase2": BAD_RD}),
    (0x010D03, "INVALL", {"ICID": BAD_ICID}),
    (0x010D09, "INVALL", {"ICID": 1}),
    (0x010502, "SYNC", {"RDbase": BAD_RD}),
    (0x012A01, "VMAPTI", OUT_OF_RANGE),
    (0x012A04, "VMAPTI", UNMAPPED),
    (0x012A05, "VMAPTI", {**BAD_EVENT, "vINTID": 1}),
    (0x012A13, "VMAPTI", {**FREE, "vINTID": 8191, "Doorbell": 0}),
    (0x012A06, "VMAPTI", {**FREE, "vINTID": 8192, "Doorbell": 0, "vPEID": BAD_VPE}),
    (0x012A11, "VMAPTI", {**FREE, "vINTID": 8192, "Doorbell": 1023, "vPEID": BAD_VPE}),
    (0x012B05, "VMAPI", BAD_EVENT),
    (0x012B13, "VMAPI", FREE),
    (0x012101, "VMOVI", OUT_OF_RANGE),
    (0x012104, "VMOVI", UNMAPPED),
    (0x012105, "VMOVI", BAD_EVENT),
    (0x012107, "VMOVI", FREE),
    (0x012115, "VMOVI", PHYSICAL),
    (0x012116, "VMOVI", {**LOST_VIRTUAL, "vPEID": BAD_VPE}),
    (0x012116, "VMOVI", {**TOO_WIDE, "vPEID": BAD_VPE}),
    (0x012111, "VMOVI", {**VIRTUAL, "vPEID": BAD_VPE}),
    (0x012117, "VMOVI", {**VIRTUAL, "vPEID": 3}),
    (0x012113, "VMOVI", {**VIRTUAL, "vPEID": 2, "D": 1, "Doorbell": 8191}),
    (0x012106, "VMOVI", {**VIRTUAL, "vPEID": 0, "D": 1, "Doorbell": 8191}),
    (0x012912, "VMAPP", {**MAPPING, "VPT_size": 12, "RDbase": BAD_RD}),
    (0x012912, "VMAPP", {**MAPPING, "VPT_size": 16}),
    (0x012902, "VMAPP", {**MAPPING, "RDbase": BAD_RD, "Default_Doorbell": 0}),
    (0x012911, "VMAPP", {**MAPPING, "vPEID": BAD_VPE, "Default_Doorbell": 0}),
    (0x012906, "VMAPP", {**MAPPING, "vPEID": 0, "Default_Doorbell": 0}),
    (0x012911, "VMAPP", {"V": 0, "vPEID": BAD_VPE}),
    (0x012918, "VMAPP", {**MAPPING, "vPEID": 0}),
    (0x012914, "VMAPP", {**MAPPING, "vPEID": 3, "Alloc": 0}),
    (0x012202, "VMOVP", {"vPEID": BAD_VPE, "RDbase": BAD_RD}),
    (0x012211, "VMOVP", {"vPEID": BAD_VPE}),
    (0x012214, "VMOVP", {"vPEID": 1, "DB": 1, "Default_Doorbell": 1}),
    (0x012206, "VMOVP", {"vPEID": 0, "DB": 1, "Default_Doorbell": 1}),
    *(
        (0x010000 + opcode * 0x100 + reason, mnemonic, {"vPEID": vpeid})
        for mnemonic, opcode in [("VSGI", 0x23), ("VSYNC", 0x25), ("VINVALL", 0x2D), ("INVDB", 0x2E)]
        for vpeid, reason in [(BAD_VPE, 0x11), (1, 0x14)]
    ),
    *(
        (0x010000 + opcode * 0x100 + reason, mnemonic, event)
        for mnemonic, opcode in [("INT", 0x03), ("CLEAR", 0x05), ("INV", 0x0C), ("DISCARD", 0x0F)]
        for event, reason in [(OUT_OF_RANGE, 0x01), (UNMAPPED, 0x04), (BAD_EVENT, 0x05), (FREE, 0x07)]
    ),
    *(
        (0x010000 + opcode * 0x100 + 0x10, mnemonic, event)
        for mnemonic, opcode in [("INT", 0x03), ("CLEAR", 0x05), ("INV", 0x0C)]
        for event in (LOST, LOST_VIRTUAL, TOO_WIDE)
    ),
]


OTHER_ERRORS: list[tuple[int, str, str]] = [
    (0x010F10, "DISCARD", "test_discard_may_refuse_an_unmapped_target"),
    (0x012919, "VMAPP", "test_vlpis::test_a_resident_vpe_cannot_be_unmapped"),
    (0x012B01, "VMAPI", "as VMAPTI"),
    (0x012B04, "VMAPI", "as VMAPTI"),
    (0x012B06, "VMAPI", "as VMAPTI"),
    (0x012B11, "VMAPI", "as VMAPTI"),
]
"""Where those are shown that need another machine."""


@pytest.mark.parametrize(("number", "mnemonic", "fields"), ERRORS)
def test_number(populated: AbstractGic, number: int, mnemonic: str, fields: dict[str, int]) -> None:
    assert hex(populated.execute(0, mnemonic, **fields)) == hex(number)


@pytest.mark.parametrize(("number", "mnemonic", "fields"), ERRORS)
def test_an_erroneous_command_changes_nothing(
    populated: AbstractGic, number: int, mnemonic: str, fields: dict[str, int]
) -> None:
    before = repr((populated.its, dict(populated.itts), populated.vpes, populated.redistributors))
    populated.execute(0, mnemonic, **fields)
    assert repr((populated.its, dict(populated.itts), populated.vpes, populated.redistributors)) == before


@pytest.mark.parametrize("event", [LOST, LOST_VIRTUAL, TOO_WIDE])
def test_discard_may_refuse_an_unmapped_target(populated: AbstractGic, event: dict[str, int]) -> None:
    populated.config = replace(populated.config, discard_unmapped="refuse")
    assert [populated.execute(0, "DISCARD", **event) for _ in range(2)] == [0x010F10, 0x010F10]


@pytest.mark.parametrize("event", [LOST, LOST_VIRTUAL, TOO_WIDE])
def test_discard_needs_no_target(populated: AbstractGic, event: dict[str, int]) -> None:
    assert populated.execute(0, "DISCARD", **event) == 0
    assert populated.execute(0, "DISCARD", **event) == 0x010F07


@pytest.mark.parametrize(
    ("mnemonic", "fields"),
    [
        ("MAPD", {"DeviceID": 2, "Size": 31, "V": 0}),
        ("MAPC", {"ICID": 2, "RDbase": 0xFFFF, "V": 0}),
        ("VMAPP", {"vPEID": 3, "VPT_size": 255, "RDbase": 0xFFFF, "V": 0}),
        ("VMAPP", {"vPEID": 3, "V": 0, "Alloc": 1}),
    ],
)
def test_unmapping_checks_only_the_id(populated: AbstractGic, mnemonic: str, fields: dict[str, int]) -> None:
    assert populated.execute(0, mnemonic, **fields) == 0


def test_nid_refuses_individual_doorbells() -> None:
    oracle = AbstractGic(GicConfig(nid=True), devices=64, collections=16, vpes=8)
    oracle.execute(0, "MAPD", DeviceID=1, Size=2, ITT_addr=0x1000, V=1)
    assert oracle.execute(0, "VMAPTI", DeviceID=1, vINTID=8192, Doorbell=8192) == 0x012A06
    assert oracle.execute(0, "VMAPTI", DeviceID=1, vINTID=8192, Doorbell=1023) == 0


@pytest.mark.parametrize(
    ("architecture", "number", "mnemonic"),
    [("3", 0x0129FD, "VMAPP"), ("3", 0x0125FD, "VSYNC"), ("4.0", 0x0123FD, "VSGI"), ("4.1", 0x0100FD, "0x00")],
)
def test_commands_of_a_later_architecture_are_unknown(architecture: str, number: int, mnemonic: str) -> None:
    oracle = AbstractGic(GicConfig(architecture=architecture), devices=64, collections=16, vpes=8)
    assert oracle.execute(0, mnemonic) == number


def test_vsync_of_an_unmapped_vpe_is_no_error_in_v40() -> None:
    oracle = AbstractGic(GicConfig(architecture="4.0"), devices=64, collections=16, vpes=8)
    assert [oracle.execute(0, "VSYNC", vPEID=vpeid) for vpeid in (7, 8)] == [0, 0x012511]


def test_rdbase_is_an_address_with_pta() -> None:
    oracle = AbstractGic(GicConfig(pta=True, redistributors=2), devices=64, collections=16, vpes=8)
    first, stride = oracle.config.redistributor_base // 0x1_0000, oracle.config.redistributor_stride // 0x1_0000
    for rdbase, number in [(first, 0), (first + stride, 0), (first + 1, 0x010902), (first + 2 * stride, 0x010902)]:
        assert oracle.execute(0, "MAPC", ICID=0, RDbase=rdbase, V=1) == number
    assert oracle.its[0].collections == {0: 1}


@pytest.mark.parametrize("mnemonic", COMMANDS["4.1"])
def test_each_command_says_which_errors_it_has(mnemonic: str) -> None:
    """Behind its checks, in the order in which they are made, for whoever reads the page of a command."""
    page = inspect.getsource(COMMANDS["4.1"][mnemonic])
    said = {int(number, 16) for number in re.findall("0x01_[0-9A-F]{4}", page)}
    expected = {number for number, of, _ in [*ERRORS, *OTHER_ERRORS] if of == mnemonic}
    assert {hex(number) for number in said} == {hex(number) for number in expected}
    assert said
