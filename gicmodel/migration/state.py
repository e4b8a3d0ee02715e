# SPDX-License-Identifier: Apache-2.0
"""The device state that travels beside guest RAM: the virtual GIC's registers, in QEMU's order."""

from __future__ import annotations

from typing import Protocol

from gicmodel.images.registers import Registers
from gicmodel.kvm import Vgic
from gicmodel.layouts.registers.by_name import ITS_NAMES, REDISTRIBUTOR_NAMES, read_frame, register
from gicmodel.layouts.registers.its import BASERS
from gicmodel.layouts.registers.redistributor import SGI_PRIORITIES

GUEST_DISTRIBUTOR_NAMES = ("CTLR",)
SGI_NAMES = ("IGROUPR0", "ISENABLER0", "ISPENDR0", *(f"IPRIORITYR{n}" for n in range(SGI_PRIORITIES)))

BEFORE_TABLES = ("IIDR", "CBASER", "CREADR", "CWRITER", *(f"BASER{n}" for n in range(BASERS)))
"""The order of QEMU's kvm_arm_its_post_load: CREADR after the CBASER write that clears it, IIDR before the tables."""

REDISTRIBUTOR_TABLES = ("PROPBASER", "PENDBASER")

CLEARED_BY = {"ISENABLER0": "ICENABLER0", "ISPENDR0": "ICPENDR0"}
"""What a write of all ones clears before the write of what was saved, which can only set."""
_ALL = _WORD = 0xFFFF_FFFF


class UserFace(Protocol):
    """KVM_SET_DEVICE_ATTR on a group of registers."""

    def user_write(self, offset: int, value: int) -> None: ...


def guest_registers(vgic: Vgic) -> Registers:
    """What QEMU's pre_save hooks read: the GIC's registers by frame, and `guest`: where RAM begins, how many vCPUs.

    A pending vSGI is read where it is, through GICR_VSGIPENDR of the host: KvmError while its vPE is unmapped.
    """
    frames = {f"GITS{n}": read_frame(its, "GITS", ITS_NAMES, "3") for n, its in enumerate(vgic.its)}
    for n, redistributor in enumerate(vgic.redistributors):
        frames[f"GICR{n}"] = read_frame(redistributor, "GICR", REDISTRIBUTOR_NAMES + SGI_NAMES, "3")
    frames["GICD"] = read_frame(vgic.distributor, "GICD", GUEST_DISTRIBUTOR_NAMES, "3")
    frames["guest"] = {"ram_base": vgic.memory.base, "vcpus": len(vgic.redistributors)}
    return frames


def restore_redistributors(vgic: Vgic, registers: Registers) -> None:
    """QEMU's kvm_arm_gicv3_put: GICD_CTLR, the LPI tables of all vCPUs, then EnableLPIs and SGIs of each.

    KVM takes these registers in words of 32 bits, the lower one of a 64-bit register first.
    No LPI is mapped yet, so that enabling loads nothing; each pending bit is read as its LPI is created. SGIs stay in
    software, whatever GICD_CTLR.nASSGIreq says, until the first vCPU runs.
    """
    _restore(vgic.distributor, "GICD", GUEST_DISTRIBUTOR_NAMES, registers.get("GICD", {}))
    for n, redistributor in enumerate(vgic.redistributors):
        for name in REDISTRIBUTOR_TABLES:
            _put_words(redistributor, f"GICR_{name}", registers[f"GICR{n}"][name])
    for n, redistributor in enumerate(vgic.redistributors):
        _put(redistributor, "GICR_CTLR", registers[f"GICR{n}"]["CTLR"])
        _restore(redistributor, "GICR", SGI_NAMES, registers[f"GICR{n}"])


def restore_its_registers(vgic: Vgic, registers: Registers) -> None:
    """QEMU's kvm_arm_its_post_load up to the tables."""
    for n, its in enumerate(vgic.its):
        _restore(its, "GITS", BEFORE_TABLES, registers[f"GITS{n}"])


def restore_its_tables(vgic: Vgic, registers: Registers) -> None:
    """RESTORE_TABLES, and GITS_CTLR last. KvmError as `VirtualIts.restore_tables`."""
    for n, its in enumerate(vgic.its):
        its.restore_tables()
        _put(its, "GITS_CTLR", registers[f"GITS{n}"]["CTLR"])


def _restore(face: UserFace, unit: str, names: tuple[str, ...], saved: dict[str, int]) -> None:
    """Those of the registers that were saved; a file may be older than what saves them."""
    for name in names:
        if name in saved:
            if name in CLEARED_BY:
                _put(face, f"{unit}_{CLEARED_BY[name]}", _ALL)
            _put(face, f"{unit}_{name}", saved[name])


def _put_words(face: UserFace, name: str, value: int) -> None:
    offset = register(name, "3").offset
    face.user_write(offset, value & _WORD)
    face.user_write(offset + 4, value >> 32)


def _put(face: UserFace, name: str, value: int) -> None:
    face.user_write(register(name, "3").offset, value)
