# SPDX-License-Identifier: Apache-2.0
"""The GICv4 commands about vPEs: one function each, named by its mnemonic, returning a reason.

Those that GICv4.1 has changed are here as it has them, and at the end as GICv4.0 had them.

In GICv4.1 an ITS's vPE entry is a copy of the redistributors' vPE configuration entry, whose ITSMap says which ITSs
have one; with GITS_TYPER.SVPET != 0 the copy and the original are the same bytes.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.configuration import forget_byte
from gicmodel.hardware.kernels.delivery import forget_vlpis, reconsider, vpe_redistributor
from gicmodel.hardware.kernels.entries import NOTHING
from gicmodel.hardware.kernels.errors import (
    OK,
    PHYSICALID_OOR,
    PROCNUM_OOR,
    VCPU_INVALID,
    VCPU_MAPPED,
    VCPU_OOR,
    VCPU_RESIDENT,
    VPTSIZE_OOR,
)
from gicmodel.hardware.kernels.lookup import find_vpe, is_doorbell, is_lpi, redistributor_of
from gicmodel.hardware.kernels.pending import LPI_ID_BITS, find_vpt, release, vpt_slot
from gicmodel.hardware.kernels.state import (
    CONFIG,
    RD,
    SLOT,
    UNMAP,
    Index,
    Machine,
    Packet,
    Truth,
    Word,
    rd_at,
    resident_on,
)
from gicmodel.hardware.kernels.tables import (
    VPE_DOORBELL,
    VPE_ITS_MAP,
    VPE_RDBASE,
    VPE_VALID,
    VPE_VCONF_ADDR,
    VPE_VPT_ADDR,
    VPE_VPT_SIZE,
    mapped_here,
    read_vpe,
    read_vpe_configuration,
    vpe_out_of_range,
    write_vpe,
    write_vpe_configuration,
)
from gicmodel.hardware.kernels.words import ONE, ZERO, get, operand, put, replace
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.commands import VMAPP, VMOVP

VPE_ID, RDBASE, VALID, ALLOC, PTZ = (VMAPP[name] for name in ("vPEID", "RDbase", "V", "Alloc", "PTZ"))
VCONF_ADDR, VPT_ADDR, VPT_SIZE = (VMAPP[name] for name in ("VCONF_addr", "VPT_addr", "VPT_size"))
DEFAULT_DOORBELL = VMAPP["Default_Doorbell"]
MOVP_DOORBELL, MOVP_REPLACE = VMOVP["Default_Doorbell"], VMOVP["DB"]


@inlined
def vmapp(m: Machine, its: Index, packet: Packet) -> Word:
    """GICv4.1: bind a vPEID to its VPT, configuration table, doorbell and redistributor, or unbind it."""
    vpe_id, bits = operand(packet, VPE_ID), operand(packet, VPT_SIZE) + ONE
    if operand(packet, VALID) != ONE:
        return unmap_vpe(m, its, vpe_id, operand(packet, ALLOC) == ONE)
    if unlikely(bits < LPI_ID_BITS or bits > m.chip[CONFIG.intid_bits]):
        return VPTSIZE_OOR
    rd = redistributor_of(m, operand(packet, RDBASE))
    if unlikely(rd < 0):
        return PROCNUM_OOR
    if unlikely(vpe_out_of_range(m, its, vpe_id)):
        return VCPU_OOR
    if unlikely(not is_doorbell(m, operand(packet, DEFAULT_DOORBELL))):
        return PHYSICALID_OOR
    reason, entry = read_vpe(m, its, vpe_id)
    if unlikely(reason != OK):
        return reason
    if unlikely(mapped_here(entry, its)):
        return VCPU_MAPPED
    if operand(packet, ALLOC) == ONE:
        return first_map(m, its, vpe_id, rd, packet)
    return further_map(m, its, vpe_id, rd)


@inlined
def first_map(m: Machine, its: Index, vpe_id: Word, rd: Index, packet: Packet) -> Word:
    """VMAPP {V,Alloc} = {1,1}: allocate the vPE configuration entry; take the VPT as pending state unless PTZ.

    What is still held of the VPT for a vPE that was lost is neither read nor written back.
    """
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if unlikely(reason != OK):
        return reason
    if unlikely(get(entry[0], VPE_VALID) == ONE):
        return VCPU_MAPPED
    base, size = operand(packet, VPT_ADDR), operand(packet, VPT_SIZE)
    held = find_vpt(m, base)
    if unlikely(held >= 0 and m.slots[held, SLOT.stray] == ONE):
        release(m, held, False)
    elif unlikely(held >= 0 and operand(packet, PTZ) == ONE):
        release(m, held, True)
    reason, _ = vpt_slot(m, base, size + ONE, operand(packet, PTZ) == ONE)
    if unlikely(reason != OK):
        return reason
    word0 = put(base, VPE_VPT_ADDR) | put(size, VPE_VPT_SIZE) | put(ONE, VPE_VALID)
    word1 = put(operand(packet, VCONF_ADDR), VPE_VCONF_ADDR) | put(np.uint64(rd), VPE_RDBASE)
    word2 = put(operand(packet, DEFAULT_DOORBELL), VPE_DOORBELL)
    return write_both(m, its, rd, vpe_id, (word0, word1, word2, put(ONE << np.uint64(its), VPE_ITS_MAP)))


@kernel
def further_map(m: Machine, its: Index, vpe_id: Word, rd: Index) -> Word:
    """VMAPP {V,Alloc} = {1,0}: one more ITS for a vPE that another ITS has allocated."""
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if unlikely(reason != OK):
        return reason
    if unlikely(get(entry[0], VPE_VALID) != ONE):
        return VCPU_INVALID
    word3 = entry[3] | put(ONE << np.uint64(its), VPE_ITS_MAP)
    return write_both(m, its, rd, vpe_id, (entry[0], entry[1], entry[2], word3))


@inlined
def write_both(m: Machine, its: Index, rd: Index, vpe_id: Word, entry: Packet) -> Word:
    """Store the ITS's entry and the redistributors'; the latter is the last word where they are the same bytes."""
    reason = write_vpe(m, its, vpe_id, entry)
    if reason == OK:
        reason = write_vpe_configuration(m, rd, vpe_id, entry)
    return reason


@inlined
def unmap_vpe(m: Machine, its: Index, vpe_id: Word, last: Truth) -> Word:
    """VMAPP V=0; with Alloc=1 the VPT in RAM is current when the command is complete (IHI0069 5.3.19)."""
    if unlikely(vpe_out_of_range(m, its, vpe_id)):
        return VCPU_OOR
    reason, rd, shared = find_allocated(m, vpe_id)
    if unlikely(reason != OK):
        return reason
    if unlikely(resident_on(m, vpe_id) >= 0):
        return VCPU_RESIDENT
    left = (shared[0], shared[1], shared[2], shared[3] & ~put(ONE << np.uint64(its), VPE_ITS_MAP))
    if unlikely(last and left[3] != ZERO):
        return VCPU_MAPPED
    if last:
        left = NOTHING
    reason = write_vpe(m, its, vpe_id, its_entry(m, left))
    if unlikely(reason != OK or rd < 0):
        return reason
    slot = find_vpt(m, get(shared[0], VPE_VPT_ADDR))
    if last and slot >= 0:
        release(m, slot, True)
    return write_vpe_configuration(m, rd, vpe_id, left)


@inlined
def find_allocated(m: Machine, vpe_id: Word) -> tuple[Word, Index, Packet]:
    """(reason, redistributor it is mapped to, entry) of a vPE, whichever ITSs have it; -1 for one not allocated."""
    for rd in range(np.int64(m.chip[CONFIG.redistributors])):
        reason, entry = read_vpe_configuration(m, rd, vpe_id)
        if unlikely(reason != OK):
            return reason, np.int64(-1), NOTHING
        if get(entry[0], VPE_VALID) == ONE and vpe_redistributor(entry) == rd:
            return OK, rd, entry
    return OK, np.int64(-1), NOTHING


@kernel
def its_entry(m: Machine, left: Packet) -> Packet:
    """What an ITS that unmaps a vPE leaves in its table: nothing, unless other ITSs share it (GITS_TYPER.SVPET)."""
    if m.chip[CONFIG.svpet] == ZERO:
        return NOTHING
    return left


@inlined
def vmovp(m: Machine, its: Index, packet: Packet) -> Word:
    """GICv4.1: give a vPE to another redistributor, and with DB=1 another default doorbell."""
    vpe_id, doorbell = operand(packet, VPE_ID), operand(packet, MOVP_DOORBELL)
    rd = redistributor_of(m, operand(packet, RDBASE))
    if unlikely(rd < 0):
        return PROCNUM_OOR
    reason, entry = find_vpe(m, its, vpe_id)
    if unlikely(reason != OK):
        return reason
    new_doorbell = operand(packet, MOVP_REPLACE) == ONE
    if unlikely(new_doorbell and not is_doorbell(m, doorbell)):
        return PHYSICALID_OOR
    reason, moved = find_configuration(m, vpe_redistributor(entry), rd, vpe_id)
    if unlikely(reason != OK):
        return reason
    word2 = moved[2]
    if new_doorbell:
        word2 = replace(word2, VPE_DOORBELL, doorbell)
    moved = (moved[0], replace(moved[1], VPE_RDBASE, np.uint64(rd)), word2, moved[3])
    return move_vpe(m, its, vpe_redistributor(entry), vpe_id, moved)


@kernel
def find_configuration(m: Machine, old: Index, new: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """(reason, configuration entry) of a vPE that moves; another ITS's VMOVP may have moved it already."""
    reason, moved = read_vpe_configuration(m, new, vpe_id)
    if unlikely(reason != OK):
        return reason, NOTHING
    reason, here = read_vpe_configuration(m, old, vpe_id)
    if unlikely(reason != OK):
        return reason, NOTHING
    if get(here[0], VPE_VALID) == ONE:
        moved = here
    if unlikely(get(moved[0], VPE_VALID) != ONE):
        return VCPU_INVALID, NOTHING
    return OK, moved


@kernel
def move_vpe(m: Machine, its: Index, old: Index, vpe_id: Word, moved: Packet) -> Word:
    """Store the moved entry; with GITS_TYPER.VMOVP = 1 for every ITS that has the vPE mapped.

    Redistributors of another CommonLPIAff group have another table. It is cleared first: software may have given two
    groups one table, or an ITS the old group's.
    """
    reason, new = OK, vpe_redistributor(moved)
    if m.chip[rd_at(old) + RD.group] != m.chip[rd_at(new) + RD.group]:
        reason = write_vpe_configuration(m, old, vpe_id, NOTHING)
    if reason == OK:
        reason = write_vpe_configuration(m, new, vpe_id, moved)
    for other in range(np.int64(m.chip[CONFIG.its])):
        concerned = other == its or (m.chip[CONFIG.vmovp] == ONE and mapped_here(moved, other))
        if reason == OK and concerned:
            reason = write_vpe(m, other, vpe_id, moved)
    return reason


@inlined
def vsync(m: Machine, its: Index, packet: Packet) -> Word:
    """GICv4.1: everything before is complete for the vPE, which must be mapped."""
    return find_vpe(m, its, operand(packet, VPE_ID))[0]


@inlined
def vinvall(m: Machine, its: Index, packet: Packet) -> Word:
    """VINVALL: the configuration of all vLPIs of a vPE is read anew."""
    reason, entry = find_vpe(m, its, operand(packet, VPE_ID))
    if reason == OK:
        forget_vlpis(m, entry)
        reason = reconsider(m, entry, operand(packet, VPE_ID))
    return reason


@inlined
def invdb(m: Machine, its: Index, packet: Packet) -> Word:
    """INVDB: every redistributor reads the configuration of a vPE's default doorbell anew."""
    reason, entry = find_vpe(m, its, operand(packet, VPE_ID))
    doorbell = get(entry[2], VPE_DOORBELL)
    if reason == OK and is_lpi(m, doorbell):
        for rd in range(np.int64(m.chip[CONFIG.redistributors])):
            forget_byte(m, rd, doorbell)
    return reason


@inlined
def vmapp_v40(m: Machine, its: Index, packet: Packet) -> Word:
    """GICv4.0: bind a vPEID to its VPT and redistributor, or unbind it. Binding it anew replaces the old binding."""
    vpe_id, size = operand(packet, VPE_ID), operand(packet, VPT_SIZE)
    valid = operand(packet, VALID) == ONE
    rd = redistributor_of(m, operand(packet, RDBASE))
    if unlikely(valid and size >= m.chip[CONFIG.intid_bits]):
        return VPTSIZE_OOR
    if unlikely(valid and rd < 0):
        return PROCNUM_OOR
    if unlikely(vpe_out_of_range(m, its, vpe_id)):
        return VCPU_OOR
    reason, old = read_vpe(m, its, vpe_id)
    if unlikely(reason != OK):
        return reason
    if not valid:
        return unmap_vpe_v40(m, its, vpe_id, old)
    word0 = put(operand(packet, VPT_ADDR), VPE_VPT_ADDR) | put(size, VPE_VPT_SIZE) | put(ONE, VPE_VALID)
    return write_vpe(m, its, vpe_id, (word0, put(np.uint64(rd), VPE_RDBASE), ZERO, ZERO))


@kernel
def unmap_vpe_v40(m: Machine, its: Index, vpe_id: Word, old: Packet) -> Word:
    """VMAPP V=0 in GICv4.0, which promises nothing about the VPT in RAM once no ITS has the vPE."""
    slot = find_vpt(m, get(old[0], VPE_VPT_ADDR))
    if get(old[0], VPE_VALID) == ONE and slot >= 0 and not mapped_elsewhere_v40(m, its, vpe_id, old):
        release(m, slot, m.chip[CONFIG.vpt_writeback] != UNMAP)
    return write_vpe(m, its, vpe_id, NOTHING)


@kernel
def mapped_elsewhere_v40(m: Machine, its: Index, vpe_id: Word, old: Packet) -> Truth:
    """Whether another ITS has the vPE with the same VPT. Linux unmaps a vPE on the ITS that has its last vLPI."""
    for other in range(np.int64(m.chip[CONFIG.its])):
        if other != its and not vpe_out_of_range(m, other, vpe_id):
            reason, entry = read_vpe(m, other, vpe_id)
            same = get(entry[0], VPE_VPT_ADDR) == get(old[0], VPE_VPT_ADDR)
            if reason == OK and mapped_here(entry, other) and same:
                return True
    return False


@inlined
def vmovp_v40(m: Machine, its: Index, packet: Packet) -> Word:
    """GICv4.0: give a vPE to another redistributor; with GITS_TYPER.VMOVP = 1 on every ITS that has it mapped."""
    vpe_id = operand(packet, VPE_ID)
    rd = redistributor_of(m, operand(packet, RDBASE))
    if unlikely(rd < 0):
        return PROCNUM_OOR
    reason = find_vpe(m, its, vpe_id)[0]
    for other in range(np.int64(m.chip[CONFIG.its])):
        if reason == OK and (other == its or m.chip[CONFIG.vmovp] == ONE):
            reason = move_vpe_v40(m, other, vpe_id, rd)
    return reason


@kernel
def move_vpe_v40(m: Machine, its: Index, vpe_id: Word, rd: Index) -> Word:
    """Point one ITS's entry at the vPE's new redistributor, if that ITS has the vPE."""
    if vpe_out_of_range(m, its, vpe_id):
        return OK
    reason, entry = read_vpe(m, its, vpe_id)
    if reason == OK and mapped_here(entry, its):
        reason = write_vpe(m, its, vpe_id, (entry[0], put(np.uint64(rd), VPE_RDBASE), entry[2], entry[3]))
    return reason


@inlined
def vsync_v40(m: Machine, its: Index, packet: Packet) -> Word:
    """GICv4.0: the vPE need not be mapped, for software needs a VSYNC after VMAPP V=0 (Linux 80e9963fb3b5)."""
    if unlikely(vpe_out_of_range(m, its, operand(packet, VPE_ID))):
        return VCPU_OOR
    return OK
