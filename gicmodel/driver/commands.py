# SPDX-License-Identifier: Apache-2.0
"""The ITS commands that Linux sends, one function a mnemonic (IHI0069 5.3).

Every operand is a number or an array of numbers; arrays are of one length and give that many commands. `target` is an
RDbase as commands hold it: a Processor_Number, or bits [51:16] of the redistributor's address with GITS_TYPER.PTA = 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gicmodel.layouts import commands as layouts
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.layout import Layout

Commands: TypeAlias = NDArray[np.uint64]
"""Commands in queue order, uint64 [n, 4]."""
Operand: TypeAlias = int | NDArray[np.int64]


def operand(values: Iterable[int]) -> Operand:
    """One of a command, or an array for as many commands; a single command is packed faster."""
    found = list(values)
    return found[0] if len(found) == 1 else np.array(found, np.int64)


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those that occur, ascending; for few values several times faster than np.unique."""
    return np.array(sorted(set(values.tolist())), np.int64)


def within(values: Operand, end: int) -> bool:
    """Whether every value is in 0 .. end - 1."""
    if isinstance(values, np.ndarray):
        return bool(((values >= 0) & (values < end)).all())
    return 0 <= values < end


def every(flags: np.bool_ | NDArray[np.bool_]) -> bool:
    """Whether all flags are set. A single one is spared NumPy's reduction, which takes longer than most checks."""
    return bool(flags.all() if isinstance(flags, np.ndarray) else flags)


def mapd(device_id: int, event_bits: int, itt_addr: int) -> Commands:
    """Give a device the ITT at `itt_addr`: 256-byte aligned, 2**event_bits zeroed entries."""
    return _command(layouts.MAPD, DeviceID=device_id, Size=event_bits - 1, ITT_addr=itt_addr, V=1)


def mapd_unmap(device_id: int, event_bits: int, itt_addr: int) -> Commands:
    """With V=0 the ITT is ignored; Linux names it all the same."""
    return _command(layouts.MAPD, DeviceID=device_id, Size=event_bits - 1, ITT_addr=itt_addr)


def mapc(icid: int, target: int) -> Commands:
    return _command(layouts.MAPC, ICID=icid, RDbase=target, V=1)


def mapti(device_id: int, event_id: Operand, pintid: Operand, icid: Operand) -> Commands:
    return _command(layouts.MAPTI, DeviceID=device_id, EventID=event_id, pINTID=pintid, ICID=icid)


def movi(device_id: int, event_id: Operand, icid: Operand) -> Commands:
    return _command(layouts.MOVI, DeviceID=device_id, EventID=event_id, ICID=icid)


def int_(device_id: int, event_id: Operand) -> Commands:
    return _command(layouts.INT, DeviceID=device_id, EventID=event_id)


def clear(device_id: int, event_id: Operand) -> Commands:
    return _command(layouts.CLEAR, DeviceID=device_id, EventID=event_id)


def discard(device_id: int, event_id: Operand) -> Commands:
    return _command(layouts.DISCARD, DeviceID=device_id, EventID=event_id)


def inv(device_id: int, event_id: Operand) -> Commands:
    return _command(layouts.INV, DeviceID=device_id, EventID=event_id)


def invall(icid: int) -> Commands:
    return _command(layouts.INVALL, ICID=icid)


def sync(target: Operand) -> Commands:
    return _command(layouts.SYNC, RDbase=target)


def vmapti(device_id: int, event_id: Operand, vpe_id: Operand, vintid: Operand, doorbell: Operand) -> Commands:
    return _command(
        layouts.VMAPTI,
        DeviceID=device_id,
        EventID=event_id,
        vPEID=vpe_id,
        vINTID=vintid,
        Doorbell=doorbell,
    )


def vmovi(device_id: int, event_id: Operand, vpe_id: Operand, doorbell: Operand = NO_DOORBELL) -> Commands:
    """Move an event to another vPE of its VM. Linux always replaces the doorbell too (D=1)."""
    return _command(layouts.VMOVI, DeviceID=device_id, EventID=event_id, vPEID=vpe_id, D=1, Doorbell=doorbell)


def vmapp_v40(vpe_id: Operand, target: Operand, vpt_addr: Operand, id_bits: int) -> Commands:
    """The GICv4.0 form: the VPT, and where the vPE runs."""
    return _command(layouts.VMAPP_V40, vPEID=vpe_id, RDbase=target, V=1, VPT_size=id_bits - 1, VPT_addr=vpt_addr)


def vmapp(
    vpe_id: Operand,
    target: Operand,
    vpt_addr: Operand,
    vconf_addr: int,
    id_bits: int,
    default_doorbell: Operand,
    alloc: Operand,
    ptz: Operand = False,
) -> Commands:
    """The GICv4.1 form. PTZ says that the VPT is zero, and is for drivers that show what comes of it.

    The VPT of a vPE that is mapped again holds what is pending (Linux c21bc068cdbe, "Drop the setting of PTZ
    altogether").
    """
    return _command(
        layouts.VMAPP,
        Alloc=alloc,
        PTZ=ptz,
        VCONF_addr=vconf_addr,
        Default_Doorbell=default_doorbell,
        vPEID=vpe_id,
        RDbase=target,
        V=1,
        VPT_size=id_bits - 1,
        VPT_addr=vpt_addr,
    )


def vmapp_unmap_v40(vpe_id: Operand) -> Commands:
    return _command(layouts.VMAPP_V40, vPEID=vpe_id)


def vmapp_unmap(vpe_id: Operand, alloc: Operand) -> Commands:
    return _command(layouts.VMAPP, vPEID=vpe_id, Alloc=alloc)


def vmovp_v40(vpe_id: int, target: int, sequence: int = 0, its_list: int = 0) -> Commands:
    """`sequence` and `its_list` only where one VMOVP does not reach every ITS (GITS_TYPER.VMOVP = 0)."""
    return _command(layouts.VMOVP, vPEID=vpe_id, RDbase=target, SeqNum=sequence, ITSList=its_list)


def vmovp(vpe_id: int, target: int, default_doorbell: int, sequence: int = 0, its_list: int = 0) -> Commands:
    """The GICv4.1 form names the default doorbell again, as Linux always does (DB=1)."""
    return _command(
        layouts.VMOVP,
        vPEID=vpe_id,
        RDbase=target,
        SeqNum=sequence,
        ITSList=its_list,
        DB=1,
        Default_Doorbell=default_doorbell,
    )


def vsgi(vpe_id: int, vintid: int, enable: bool, group: int, priority: int, clear: bool) -> Commands:
    """`priority` is 8 bits wide; the command holds the upper four."""
    return _command(
        layouts.VSGI,
        vPEID=vpe_id,
        vINTID=vintid,
        Enable=enable,
        Group=group,
        Priority=priority >> 4,
        Clear=clear,
    )


def vsync(vpe_ids: Operand) -> Commands:
    """One VSYNC for each vPE that `vpe_ids` names."""
    return vsync_each(distinct(vpe_ids) if isinstance(vpe_ids, np.ndarray) else vpe_ids)


def vsync_each(vpe_ids: Operand) -> Commands:
    """A VSYNC for each of `vpe_ids`, in their order."""
    return _command(layouts.VSYNC, vPEID=vpe_ids)


def vinvall(vpe_id: Operand) -> Commands:
    return _command(layouts.VINVALL, vPEID=vpe_id)


def invdb(vpe_id: Operand) -> Commands:
    return _command(layouts.INVDB, vPEID=vpe_id)


def in_turn(*blocks: Commands) -> Commands:
    """The first command of each block, then the second of each, and so on."""
    return np.stack(blocks, axis=1).reshape(-1, COMMAND_BYTES // 8)


def _command(layout: Layout, **fields: Operand) -> Commands:
    if any(isinstance(value, np.ndarray) for value in fields.values()):
        return layout.encode(**fields)
    # A single command is packed as Python integers, several times faster than arrays of one.
    return np.array([layout.pack_words(**fields)], np.uint64)  # type: ignore[arg-type]
