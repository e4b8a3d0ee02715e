# SPDX-License-Identifier: Apache-2.0
"""The device state that travels beside guest RAM: the virtual GIC's registers, in QEMU's order."""

from __future__ import annotations

from typing import Protocol

from gicmodel.kvm import Vgic
from gicmodel.layouts.registers import BASERS, register
from gicmodel.migration.registers import Registers, guest_registers

BEFORE_TABLES = ("IIDR", "CBASER", "CREADR", "CWRITER", *(f"BASER{n}" for n in range(BASERS)))
"""The order of QEMU's kvm_arm_its_post_load: CREADR after the CBASER write that clears it, IIDR before the tables."""

REDISTRIBUTOR_TABLES = ("PROPBASER", "PENDBASER")


class UserFace(Protocol):
    """KVM_SET_DEVICE_ATTR on a group of registers."""

    def user_write(self, offset: int, value: int) -> None: ...


def save_registers(vgic: Vgic) -> Registers:
    """What QEMU's pre_save hooks read."""
    return guest_registers(vgic)


def restore_redistributors(vgic: Vgic, registers: Registers) -> None:
    """QEMU's kvm_arm_gicv3_put: the LPI tables of all vCPUs, then EnableLPIs of each.

    No LPI is mapped yet, so that enabling loads nothing; each pending bit is read as its LPI is created.
    """
    for n, redistributor in enumerate(vgic.redistributors):
        for name in REDISTRIBUTOR_TABLES:
            _put(redistributor, f"GICR_{name}", registers[f"GICR{n}"][name])
    for n, redistributor in enumerate(vgic.redistributors):
        _put(redistributor, "GICR_CTLR", registers[f"GICR{n}"]["CTLR"])


def restore_its_registers(vgic: Vgic, registers: Registers) -> None:
    """QEMU's kvm_arm_its_post_load up to the tables."""
    for n, its in enumerate(vgic.its):
        for name in BEFORE_TABLES:
            if name in registers[f"GITS{n}"]:
                _put(its, f"GITS_{name}", registers[f"GITS{n}"][name])


def restore_its_tables(vgic: Vgic, registers: Registers) -> None:
    """RESTORE_TABLES, and GITS_CTLR last. KvmError as `VirtualIts.restore_tables`."""
    for n, its in enumerate(vgic.its):
        its.restore_tables()
        _put(its, "GITS_CTLR", registers[f"GITS{n}"]["CTLR"])


def _put(face: UserFace, name: str, value: int) -> None:
    face.user_write(register(name, "3").offset, value)
