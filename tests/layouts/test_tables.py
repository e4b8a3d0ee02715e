# SPDX-License-Identifier: Apache-2.0
"""Golden bytes of every table entry.

The entries marked "host" and "guest" are from real memory: a Linux 6.12 KVM host on QEMU 7.2, and the guest RAM that
this host saved its virtual ITS to. "QEMU" ones were observed over qtest. The others follow from the declared positions.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.layouts.catalogue import CATALOGUE
from gicmodel.layouts.its_tables import (
    CTE,
    DTE,
    INTTYPE_PHYSICAL,
    INTTYPE_VIRTUAL,
    ITE,
    LEVEL1,
    NO_DOORBELL,
    VPE_CONFIGURATION,
    VTE,
)
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.lpi_tables import (
    FIRST_LPI,
    FIRST_LPI_BYTE,
    LPI_CONFIGURATION,
    VSGI_CONFIGURATION,
    bit_of,
    byte_of,
    intids_of,
    table_bytes,
)

PHYSICAL = {"Valid": 1, "IntType": INTTYPE_PHYSICAL, "Doorbell": NO_DOORBELL}
VIRTUAL = {"Valid": 1, "IntType": INTTYPE_VIRTUAL}
VPE_0 = {"Valid": 1, "VPT_addr": 0x9001_0000, "VPT_size": 15, "VCONF_addr": 0x9000_0000, "RDbase": 2}
LAST_RESIDENT = {"VGrp1En": 1, "DoorbellArmed": 1}

GOLDENS = [
    # host
    (LEVEL1, "00 00 9e 43 00 00 00 80", {"Valid": 1, "Physical_Address": 0x439E_0000}),
    (DTE, "0d 7e e3 10 00 00 00 00", {"Valid": 1, "Size": 6, "ITT_addr": 0x438D_F800}),
    (DTE, "83 c9 c9 10 00 00 00 00", {"Valid": 1, "Size": 1, "ITT_addr": 0x4327_2600}),
    (ITE, "01 80 00 00 00 00 01 00 05 20 00 00", VIRTUAL | {"IntID": 8192, "vPEID": 1, "Doorbell": 8197}),
    (ITE, "0b 80 00 00 01 00 00 00 ff 03 00 00", PHYSICAL | {"IntID": 8194, "ICID": 1}),
    (CTE, "03 00 00 00 00 00 00 00", {"Valid": 1, "RDbase": 1}),
    (VTE, "9f 35 13 00 00 04 00 00", {"Valid": 1, "VPT_size": 15, "VPT_addr": 0x4CD6_0000, "RDbase": 1}),
    (LPI_CONFIGURATION, "c3", {"Priority": 0xC0, "Enable": 1}),
    (LPI_CONFIGURATION, "c2", {"Priority": 0xC0}),
    # guest
    (KVM_LEVEL1, "00 00 e8 43 00 00 00 80", {"V": 1, "Physical_Address": 0x43E8_0000}),
    (KVM_DTE, "41 db 84 08 00 00 10 80", {"V": 1, "next": 8, "ITT_addr": 0x4426_DA00, "Size": 1}),
    (KVM_DTE, "c1 45 75 08 00 00 00 80", {"V": 1, "ITT_addr": 0x43AA_2E00, "Size": 1}),
    (KVM_ITE, "01 00 00 20 00 00 01 00", {"next": 1, "pINTID": 8192, "ICID": 1}),
    (KVM_ITE, "01 00 02 20 00 00 00 00", {"pINTID": 8194, "ICID": 1}),
    (KVM_CTE, "01 00 01 00 00 00 00 80", {"V": 1, "RDBase": 1, "ICID": 1}),
    # QEMU
    (DTE, "09 00 20 10 00 00 00 00", {"Valid": 1, "Size": 4, "ITT_addr": 0x4080_0000}),
    (CTE, "05 00 00 00 00 00 00 00", {"Valid": 1, "RDbase": 2}),
    (ITE, "23 80 00 00 03 00 00 00 ff 03 00 00", PHYSICAL | {"IntID": 8200, "ICID": 3}),
    (ITE, "b1 81 00 00 00 00 07 00 34 21 00 00", VIRTUAL | {"IntID": 8300, "vPEID": 7, "Doorbell": 8500}),
    (VTE, "1f 28 10 00 00 04 00 00", {"Valid": 1, "VPT_size": 15, "VPT_addr": 0x40A0_0000, "RDbase": 1}),
    # by hand from Linux Documentation/virt/kvm/devices/arm-vgic-its.rst
    (KVM_DTE, "07 00 02 11 00 00 0a 80", {"V": 1, "next": 5, "ITT_addr": 0x8810_0000, "Size": 7}),
    (KVM_DTE, "04 00 02 11 00 00 fe ff", {"V": 1, "next": 0x3FFF, "ITT_addr": 0x8810_0000, "Size": 4}),
    (KVM_ITE, "03 00 03 20 00 00 eb 00", {"next": 235, "pINTID": 8195, "ICID": 3}),
    (KVM_CTE, "03 00 03 00 00 00 00 80", {"V": 1, "RDBase": 3, "ICID": 3}),
    (KVM_CTE, "00 00 ff ff ff ff 00 80", {"V": 1, "RDBase": COLLECTION_NOT_MAPPED}),
    # this model's own
    (VSGI_CONFIGURATION, "a3", {"Priority": 0xA0, "Group": 1, "Enable": 1}),
    (
        VPE_CONFIGURATION,
        "1f 00 01 90 00 00 00 00  02 00 00 90 00 00 00 00  6c 20 00 00 05 00 00 00  03 00 00 00 00 00 00 00",
        VPE_0 | LAST_RESIDENT | {"Default_Doorbell": 8300, "ITSMap": 0b11},
    ),
    (VPE_CONFIGURATION, "00 " * 20 + "02" + " 00" * 11, {"VGrp0En": 1}),
]


@pytest.mark.parametrize(("layout", "octets", "fields"), GOLDENS)
def test_golden(layout, octets, fields):
    data = bytes.fromhex(octets)
    assert layout.build(**fields) == data
    words = layout.words_of(data).reshape(-1)
    assert layout.unpack(words) == dict.fromkeys(layout.fields, 0) | fields
    assert layout.res0_violations(words) == {}


def test_every_field_of_every_table_is_set_by_a_golden():
    seen = {(layout.name, field) for layout, _, fields in GOLDENS for field in fields}
    assert seen == {(layout.name, field) for layout in CATALOGUE["table"] for field in layout.fields}


@pytest.mark.parametrize(("intid", "byte", "bit"), [(8192, 1024, 0), (8195, 1024, 3), (8200, 1025, 0), (8447, 1055, 7)])
def test_pending_bits(intid, byte, bit):
    assert (byte_of(intid), bit_of(intid)) == (byte, bit)
    intids = np.array([intid])
    assert (byte_of(intids).tolist(), bit_of(intids).tolist()) == ([byte], [bit])


def test_sizes_of_pending_tables():
    assert byte_of(FIRST_LPI) == FIRST_LPI_BYTE
    assert (table_bytes(14), table_bytes(16)) == (2048, 8192)


@given(st.sets(st.integers(0, 8 * 64 - 1)))
def test_the_bits_that_are_set_are_the_intids(intids):
    octets = np.zeros(64, np.uint8)
    for intid in intids:
        octets[byte_of(intid)] |= 1 << bit_of(intid)
    places = np.flatnonzero(octets)
    assert intids_of(octets).tolist() == sorted(intids)
    assert intids_of(octets[places], places + 1000).tolist() == [intid + 8000 for intid in sorted(intids)]
