# SPDX-License-Identifier: Apache-2.0
"""Bugs of vPEs, vLPIs and vSGIs: mapping, moving, doorbells, and what is left in the VPT."""

import numpy as np

from gicmodel.hardware.kernels.errors import OK, VCPU_INVALID, VCPU_RESIDENT
from gicmodel.hardware.kernels.lookup import find_vpe
from gicmodel.hardware.kernels.pending import find_vpt, release
from gicmodel.hardware.kernels.redistributor import GROUP1
from gicmodel.hardware.kernels.state import CONFIG, RD, rd_at, resident_on, set_resident
from gicmodel.hardware.kernels.tables import VPE_RDBASE, VPE_VPT_ADDR
from gicmodel.hardware.kernels.virtual_commands import SGI_CLEAR
from gicmodel.hardware.kernels.vpe_commands import PTZ, VPE_ID
from gicmodel.hardware.kernels.words import ONE, get, operand, put, replace
from tests.fuzzing.mutants.planting import mutant

NOWHERE = "none known: nobody else models this"


@mutant("vpe_commands.move_vpe", "Linux af9acbfc2c4b", "4.1")
def vmovp_stays(original, m, its, old, vpe_id, moved):
    """VMOVP is elided: the vPE's doorbell stays on its old CPU"""
    stayed = (moved[0], replace(moved[1], VPE_RDBASE, np.uint64(old)), moved[2], moved[3])
    return original(m, its, old, vpe_id, stayed)


@mutant("vpe_commands.vmovp", "Linux 1442ee001198 (CVE-2024-50192)", "4.1")
def vmovp_of_an_unmapped_vpe(original, m, its, packet):
    """VMOVP of a vPE that is not mapped goes unnoticed"""
    reason = original(m, its, packet)
    return OK if reason == VCPU_INVALID else reason


@mutant("vpe_commands.vmovp", "HiSilicon erratum 162100801", "4.1", within=8000, vpt_writeback="unmap")
def vmovp_drops_what_is_held(original, m, its, packet):
    """VMOVP drops what the redistributor holds of the VPT"""
    _, entry = find_vpe(m, its, operand(packet, VPE_ID))
    reason = original(m, its, packet)
    slot = find_vpt(m, get(entry[0], VPE_VPT_ADDR))
    if reason == OK and slot >= 0:
        release(m, slot, False)
    return reason


@mutant("vpe_commands.vsync", "Linux 80e9963fb3b5", "4.1")
def vsync_of_an_unmapped_vpe(original, m, its, packet):
    """VSYNC after VMAPP V=0 goes unnoticed"""
    reason = original(m, its, packet)
    return OK if reason == VCPU_INVALID else reason


@mutant("vpe_commands.first_map", "Linux before c21bc068cdbe", "4.1", within=8000, length=12)
def map_believes_the_vpt_is_zero(original, m, its, vpe_id, rd, packet):
    """VMAPP V=1 claims that the VPT is zero (PTZ): what is pending is lost when a vPE is mapped again"""
    return original(m, its, vpe_id, rd, (packet[0] | put(ONE, PTZ), *packet[1:]))


@mutant("vpe_commands.release", "Linux 301beaf19739", "4.1", within=8000, vpt_writeback="unmap")
def unmap_leaves_the_vpt_old(original, m, slot, write_back):
    """The VPT in RAM is not current after VMAPP {V,Alloc} = {0,1}"""
    original(m, slot, False)


@mutant("vpe_commands.unmap_vpe", NOWHERE, "4.1")
def unmap_of_a_resident_vpe(original, m, its, vpe_id, last):
    """VMAPP V=0 of a vPE that is resident is not refused"""
    reason = original(m, its, vpe_id, last)
    if reason != VCPU_RESIDENT:
        return reason
    rd = resident_on(m, vpe_id)
    set_resident(m, vpe_id, -1)
    reason = original(m, its, vpe_id, last)
    set_resident(m, vpe_id, rd)
    return reason


@mutant("virtual_commands.move_vlpi", "Xen vgic-v3-its.c:798, of vLPIs", "4.1")
def vmovi_leaves_pending(original, m, old, new, vpe_id, vintid, doorbell):
    """VMOVI does not move what is pending"""
    return OK


@mutant("virtual_commands.vsgi", "Linux KVM 7b95382f9658", "4.1")
def vsgi_is_not_cleared(original, m, its, packet):
    """VSGI with Clear=1 leaves the vSGI pending: a vCPU that was reset gets an old IPI"""
    if operand(packet, SGI_CLEAR) == ONE:
        return find_vpe(m, its, operand(packet, VPE_ID))[0]
    return original(m, its, packet)


@mutant("delivery.ring", "QEMU 7.2, arm_gicv3_redist.c:1057", "4.0")
def individual_doorbell_rings_twice(original, m, entry, vpe_id, vintid, doorbell, newly):
    """An individual doorbell rings again though its vLPI is pending already"""
    was = m.chip[CONFIG.doorbell_every]
    m.chip[CONFIG.doorbell_every] = ONE
    reason = original(m, entry, vpe_id, vintid, doorbell, newly)
    m.chip[CONFIG.doorbell_every] = was
    return reason


@mutant("delivery.with_armed", NOWHERE, "4.1")
def default_doorbell_stays_armed(original, entry, armed):
    """A default doorbell is not disarmed when it rings, or when its vPE runs"""
    return original(entry, ONE)


@mutant("delivery.ring_default_doorbell", "Linux b321c31c9b7b", "4.1")
def default_doorbell_never_rings(original, m, rd, vpe_id, vintid):
    """A vLPI for a vCPU that waits rings no doorbell: it sleeps for ever"""
    return OK


@mutant("cpu.best_virtual_v41", "QEMU 703090770c", "4.1")
def group_enable_is_ignored(original, m, rd, enable0, enable1):
    """vLPIs are delivered though GICR_VPENDBASER.VGrp1En is 0"""
    register = rd_at(rd) + RD.vpendbaser
    was = m.chip[register]
    m.chip[register] = replace(was, GROUP1, ONE)
    found = original(m, rd, enable0, enable1)
    m.chip[register] = was
    return found


@mutant("vpe_commands.redistributor_of", "Linux 7d2c2048a864", "4.1")
def vpe_on_a_stale_redistributor(original, m, rdbase):
    """VMAPP and VMOVP map the vPE to redistributor 0, wherever it was said to be"""
    return np.int64(0) if original(m, rdbase) >= 0 else np.int64(-1)


@mutant("delivery.resident_takes", "Linux 6479450f72c1", "4.0", within=8000)
def resident_vpe_takes_nothing(original, m, entry, vintid):
    """GICR_VPROPBASER.IDbits is taken for 0: vLPIs of a resident vPE are dropped"""
    return False
