# SPDX-License-Identifier: Apache-2.0
"""Bugs of SGIs, PPIs, SPIs and list registers: inputs, priorities, routes, the ends of interrupts, maintenance."""

from functools import partial

import numpy as np

from gicmodel.hardware.kernels.cpu_interface import deactivate
from gicmodel.hardware.kernels.inputs import intid_bit, spi_at
from gicmodel.hardware.kernels.pending import FIRST_LPI_ID
from gicmodel.hardware.kernels.state import DIST, RD, rd_at
from gicmodel.hardware.kernels.virtual_interface import (
    ACTIVE,
    INVALID,
    NO_PLACE,
    VEOIM,
    VINTID,
    list_registers_in,
    set_state,
)
from gicmodel.hardware.kernels.words import ONE, ZERO, get
from gicmodel.layouts.registers.virtual_interface import ICH_MISR_EL2
from tests.fuzzing.mutants import planting

mutant = partial(planting.mutant, interrupts=200, length=12)
UNKNOWN = "none known"
U = np.uint64(ICH_MISR_EL2["U"].mask << ICH_MISR_EL2["U"].shift)


@mutant("inputs.set_spi", UNKNOWN, spis=288)
def every_high_input_is_an_edge(original, m, intid, level):
    """An edge-triggered SPI becomes pending each time its input is written high, not only when it rises"""
    original(m, intid, level)
    s, bit = spi_at(intid), intid_bit(intid)
    if level and m.chip[s + DIST.edge] & bit != ZERO:
        m.chip[s + DIST.pending] |= bit


@mutant("cpu_interface.activate", "Linux faa1b46c3e9f")
def the_latch_outlives_the_acknowledge(original, m, rd, intid):
    """What software made pending by GICR_ISPENDR0 stays pending when it is acknowledged"""
    r = rd_at(rd)
    latched = m.chip[r + RD.pending] & ~m.chip[r + RD.edge]
    original(m, rd, intid)
    m.chip[r + RD.pending] |= latched


@mutant("inputs.best_private", UNKNOWN)
def active_is_signalled_again(original, m, rd, group0, group1):
    """A PPI that is active and pending is signalled"""
    r = rd_at(rd)
    active = m.chip[r + RD.active]
    m.chip[r + RD.active] = ZERO
    found = original(m, rd, group0, group1)
    m.chip[r + RD.active] = active
    return found


@mutant("cpu_interface.group_priority", UNKNOWN)
def one_binary_point_rule(original, priority, group, bpr0, bpr1, common):
    """The binary point of Group 0 leaves as many bits to the subpriority as that of Group 1"""
    return original(priority, group, bpr0 - ONE, bpr1, common)


@mutant("cpu_interface.end_interrupt", "QEMU 382c7160d1cd")
def any_group_ends_any_other(original, m, rd, group, intid):
    """ICC_EOIR<n>_EL1 of a group ends the running interrupt, though that is of the other group"""
    original(m, rd, ZERO, intid)
    original(m, rd, ONE, intid)


@mutant("cpu_interface.end_activity", UNKNOWN)
def dir_in_any_mode(original, m, rd, intid):
    """ICC_DIR_EL1 deactivates with EOImode = 0"""
    deactivate(m, rd, intid)


@mutant("cpu_interface.make_sgi_pending", UNKNOWN)
def sgi_of_any_group(original, m, rd, intid, both_groups):
    """ICC_SGI0R_EL1 makes SGIs of Group 1 pending, too"""
    original(m, rd, intid, True)


@mutant("inputs.first_participant", UNKNOWN, within=6000, spis=288)
def any_pe_is_the_first(original, m, group):
    """An SPI that may go to any PE goes to the first, which sleeps or has disabled its group"""
    return 0


@mutant("inputs.stir_route", UNKNOWN, spis=288)
def spis_move_no_line(original, m, intid):
    """A PE is not told that an SPI is pending"""


@mutant("virtual_interface.set_state", "Linux 9d449c71bd8f")
def listed_lpis_are_never_active(original, m, rd, place, state):
    """An LPI in a list register becomes invalid when it is acknowledged"""
    lpi = get(m.chip[rd_at(rd) + RD.ich_lr + place], VINTID) >= FIRST_LPI_ID
    if lpi and state == ACTIVE:
        original(m, rd, place, INVALID)
    else:
        original(m, rd, place, state)


@mutant("virtual_interface.end_virtual", "QEMU 82a65e3188ab", within=4000)
def listed_lpis_wait_for_dir(original, m, rd, group, vintid):
    """With EOImode = 1 an LPI in a list register stays active at its end"""
    r = rd_at(rd)
    mode = get(m.chip[r + RD.ich_vmcr], VEOIM)
    before = list_registers_in(m, rd, ACTIVE)
    original(m, rd, group, vintid)
    ended = before & ~list_registers_in(m, rd, ACTIVE)
    if mode == ONE and vintid >= FIRST_LPI_ID and ended != ZERO:
        for place in range(NO_PLACE):
            if (ended >> np.uint64(place)) & ONE == ONE:
                set_state(m, rd, place, ACTIVE)


@mutant("virtual_interface.count_end", "QEMU 82a65e3188ab", within=6000)
def ends_of_lpis_are_counted(original, m, rd, vintid):
    """ICH_HCR_EL2.EOIcount counts LPIs that are in no list register"""
    if vintid >= FIRST_LPI_ID:
        original(m, rd, FIRST_LPI_ID - ONE)
    else:
        original(m, rd, vintid)


@mutant("virtual_interface.deactivate_listed", UNKNOWN, within=4000)
def hw_is_ignored(original, m, rd, place):
    """The end of a virtual interrupt with HW = 1 leaves the physical one active"""
    r = rd_at(rd)
    active = m.chip[r + RD.active]
    original(m, rd, place)
    m.chip[r + RD.active] = active


@mutant("virtual_interface.maintenance", UNKNOWN, within=6000, list_registers=1)
def underflow_only_if_empty(original, m, rd):
    """ICH_MISR_EL2.U is 0 while one list register is valid"""
    if list_registers_in(m, rd, INVALID) == ZERO:
        return original(m, rd) & ~U
    return original(m, rd)
