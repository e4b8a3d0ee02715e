# SPDX-License-Identifier: Apache-2.0
"""The device attributes of KVM's virtual GIC and ITS (Linux' uapi headers)."""

from collections.abc import Callable, Mapping
from enum import IntEnum

from gicmodel.config import FRAME_BYTES
from gicmodel.kvm.errors import KvmError


class Group(IntEnum):
    """KVM_DEV_ARM_VGIC_GRP_*."""

    ADDR = 0
    CTRL = 4
    ITS_REGS = 8


class Control(IntEnum):
    """The attributes of `Group.CTRL`: KVM_DEV_ARM_VGIC_* and KVM_DEV_ARM_ITS_*."""

    INIT = 0
    ITS_SAVE_TABLES = 1
    ITS_RESTORE_TABLES = 2
    SAVE_PENDING_TABLES = 3
    ITS_RESET = 4


ITS_ADDRESS = 4
"""KVM_VGIC_ITS_ADDR_TYPE, the attribute of `Group.ADDR` of an ITS."""

ITS_BYTES = 0x2_0000
"""KVM_VGIC_V3_ITS_SIZE: the control and the translation frame."""

IPA_BITS = 40
"""The guest physical addresses of a VM of KVM's default type."""


def control(operations: Mapping[Control, Callable[[], None]], attribute: int) -> None:
    """Do what an attribute of `Group.CTRL` asks for. KvmError ENXIO if the device has no such attribute."""
    for known, operation in operations.items():
        if known == attribute:
            operation()
            return
    raise KvmError("ENXIO", f"the device has no control attribute {attribute}")


def check_its_address(address: int) -> None:
    """KvmError EINVAL if an ITS cannot be at `address`, E2BIG if the VM has no such addresses."""
    if address % FRAME_BYTES:
        raise KvmError("EINVAL", f"ITS address {address:#x} is not aligned to {FRAME_BYTES:#x}")
    if address + ITS_BYTES > 1 << IPA_BITS:
        raise KvmError("E2BIG", f"ITS address {address:#x}: the VM's addresses have {IPA_BITS} bits")
