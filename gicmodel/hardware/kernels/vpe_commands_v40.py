# SPDX-License-Identifier: Apache-2.0
"""The commands about vPEs that GICv4.1 has changed, as GICv4.0 has them."""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.entries import NOTHING
from gicmodel.hardware.kernels.errors import OK, PROCNUM_OOR, VCPU_OOR, VPTSIZE_OOR
from gicmodel.hardware.kernels.lookup import find_vpe, redistributor_of
from gicmodel.hardware.kernels.pending import release
from gicmodel.hardware.kernels.state import CONFIG, UNMAP, Index, Machine, Packet, Word
from gicmodel.hardware.kernels.tables import (
    VPE_RDBASE,
    VPE_VALID,
    VPE_VPT_ADDR,
    VPE_VPT_SIZE,
    mapped_here,
    read_vpe,
    vpe_out_of_range,
    write_vpe,
)
from gicmodel.hardware.kernels.vpe_commands import RDBASE, VALID, VPE_ID, VPT_ADDR, VPT_SIZE
from gicmodel.hardware.kernels.vpt_cache import find_vpt
from gicmodel.hardware.kernels.words import ONE, ZERO, get, operand, put
from gicmodel.jit import inlined, kernel, unlikely


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
    """VMAPP V=0 in GICv4.0, which promises nothing about the VPT in RAM."""
    slot = find_vpt(m, get(old[0], VPE_VPT_ADDR))
    if get(old[0], VPE_VALID) == ONE and slot >= 0:
        release(m, slot, m.chip[CONFIG.vpt_writeback] != UNMAP)
    return write_vpe(m, its, vpe_id, NOTHING)


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
