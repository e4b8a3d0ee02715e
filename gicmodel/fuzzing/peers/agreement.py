# SPDX-License-Identifier: Apache-2.0
"""What hardware and oracle must agree on, whenever one looks: registers, tables in RAM, pending sets and residency."""

from __future__ import annotations

from typing import Any

from gicmodel.fuzzing.peers.interrupts import check_lines, check_registers
from gicmodel.fuzzing.peers.pair import Pair
from gicmodel.fuzzing.peers.peer import agree
from gicmodel.hardware.observe import pending_physical, pending_virtual
from gicmodel.lab import tables_seen
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.spec.state import Vpe


def check_everything(pair: Pair) -> None:
    """Compare all that software can see. Raises Divergence."""
    check_queues(pair)
    check_cpu_interfaces(pair)
    check_mappings(pair)
    check_vpes(pair)
    check_pending_tables(pair)
    check_vpts(pair)
    check_vsgis(pair)
    check_registers(pair)


def check_queues(pair: Pair) -> None:
    """CREADR and Stalled."""
    for number, its in enumerate(pair.oracle.its):
        offset = its.completed % pair.lab.queue_slots * COMMAND_BYTES
        agree(f"CREADR of ITS {number}", (pair.lab.creadr(number), pair.lab.stalled(number)), (offset, its.stalled))


def check_cpu_interfaces(pair: Pair) -> None:
    """The highest pending interrupt of each kind, residency, and the lines."""
    check_lines(pair)
    for rd, redistributor in enumerate(pair.lab.gic.redistributors):
        agree(f"highest LPI of {rd}", redistributor.cpu.pending(), pair.oracle.highest(rd))
        if pair.config.virtual:
            agree(f"highest vLPI or vSGI of {rd}", redistributor.cpu.pending_virtual(), pair.oracle.highest_virtual(rd))
            agree(f"Valid of {rd}", pair.lab.resident(rd), pair.oracle.redistributors[rd].residency is not None)


def check_mappings(pair: Pair) -> None:
    """Device, collection and translation tables."""
    for number, its in enumerate(pair.oracle.its):
        agree(f"devices of ITS {number}", tables_seen.devices(pair.lab, number), its.devices)
        in_ram = {icid: rd for icid, rd in its.collections.items() if icid >= pair.config.hcc}
        agree(f"collections of ITS {number}", tables_seen.collections(pair.lab, number), in_ram)
    for itt in pair.lab.placement.itts:
        agree(f"ITT {itt:#x}", tables_seen.events(pair.lab, itt), pair.oracle.itts[itt])


def check_vpes(pair: Pair) -> None:
    """vPE tables."""
    for number, its in enumerate(pair.oracle.its if pair.config.virtual else []):
        vpes = pair.oracle.vpes if pair.config.v41 else its.vpes
        seen = tables_seen.vpes(pair.lab, number)
        agree(
            f"vPEs of ITS {number}",
            {vpeid: _without_groups(pair, entry, vpeid) for vpeid, entry in seen.items()},
            {vpeid: _without_groups(pair, _vpe_entry(pair, vpe), vpeid) for vpeid, vpe in vpes.items()},
        )


def check_pending_tables(pair: Pair) -> None:
    """What is pending at each redistributor, and LPI pending tables in RAM as far as RAM is current."""
    for rd, redistributor in enumerate(pair.oracle.redistributors):
        agree(f"pending LPIs of {rd}", set(pending_physical(pair.lab.gic, rd).tolist()), redistributor.pending)
        if pair.config.pending_writeback == "immediate" or not redistributor.enabled:
            seen = tables_seen.pending_bits(pair.lab, pair.lab.placement.pending_tables[rd])
            agree(f"pending table of redistributor {rd}", seen, redistributor.pending)


def check_vpts(pair: Pair) -> None:
    """What is pending in each VPT, and VPTs in RAM as far as RAM is current: those that no vPE uses, or all."""
    used = {vpe.vpt: vpe.vintid_bits for vpe in pair.oracle.vpes.values()}
    for vpt in pair.lab.placement.vpts if pair.config.virtual else []:
        bits = used.get(vpt, pair.config.intid_bits)
        within = {vintid for vintid in pair.oracle.vpts[vpt].pending if vintid < 1 << bits}
        agree(f"pending in VPT {vpt:#x}", set(pending_virtual(pair.lab.gic, vpt, bits).tolist()), within)
        if pair.config.vpt_writeback == "immediate" or vpt not in used:
            agree(f"VPT {vpt:#x}", tables_seen.pending_bits(pair.lab, vpt), pair.oracle.vpts[vpt].pending)


def check_vsgis(pair: Pair) -> None:
    """GICR_VSGIPENDR for each vPE, on its redistributor."""
    for vpe in list(pair.oracle.vpes.values()):
        seen = pair.lab.pending_vsgis(vpe.redistributor, vpe.vpeid)
        agree(f"vSGIs of {vpe.vpeid}", seen, pair.oracle.pending_vsgis(vpe.vpeid))


def _vpe_entry(pair: Pair, vpe: Vpe) -> dict[str, Any]:
    """The table entry that the oracle expects of a vPE."""
    entry = {"Valid": 1, "VPT_addr": vpe.vpt, "VPT_size": vpe.vintid_bits - 1, "RDbase": vpe.redistributor}
    if not pair.config.v41:
        return entry
    mapped = sum(1 << number for number, its in enumerate(pair.oracle.its) if vpe.vpeid in its.vpes)
    groups = {"VGrp0En": int(0 in vpe.groups), "VGrp1En": int(1 in vpe.groups), "DoorbellArmed": int(vpe.armed)}
    tables = {"VCONF_addr": vpe.vconf, "Default_Doorbell": vpe.default_doorbell, "ITSMap": mapped}
    return entry | groups | tables


def _without_groups(pair: Pair, entry: dict[str, Any], vpeid: int) -> dict[str, Any]:
    """An entry to compare: while its vPE is resident the group enables are in the redistributor."""
    vpe = pair.oracle.vpes.get(vpeid)
    if vpe is None or pair.oracle.residency(vpe) is None:
        return entry
    return {name: value for name, value in entry.items() if not name.startswith("VGrp")}
