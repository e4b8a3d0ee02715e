# SPDX-License-Identifier: Apache-2.0
"""The redistributors as their registers describe them, and which of them an RDbase names, as far as the registers tell.

Table entries of the known formats have the Processor_Number. Commands have it if GITS_TYPER.PTA is 0; if it is 1 they
have bits [51:16] of RD_base, the address of the redistributor's first frame, which no register holds: it is given as
`RD_base` of its frame. That a redistributor was not given does not say that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gicmodel.images.registers import RD_BASE
from gicmodel.inspection.entries import UNKNOWN
from gicmodel.inspection.frames import Frames
from gicmodel.inspection.table import ItsTable
from gicmodel.layouts.lpi_tables import ID_BITS

DEFAULT_ID_BITS = 16
"""The width of INTIDs if no register tells it: what Linux allocates tables for."""


class Redistributor(NamedTuple):
    """One redistributor; addresses are UNKNOWN and other values None where a register was not given.

    `address` is RD_base, that of its first frame; `last` says that GICR_TYPER has it as the last of its region.
    `id_bits` is the width of its INTIDs, `declared_id_bits` what GICR_PROPBASER asks for. `resident` is the vPEID
    (GICv4.1) or the address of the virtual pending table (GICv4.0) of the vPE that it has, or UNKNOWN.
    """

    number: int
    processor_number: int
    address: int
    last: bool
    enabled: bool | None
    declared_id_bits: int | None
    id_bits: int
    configuration: int
    pending: int
    resident: int
    last_vpt: int
    virtual_configuration: int

    @property
    def frame(self) -> str:
        """The name of its registers' frame."""
        return f"GICR{self.number}"


def read_redistributors(frames: Frames, architecture: str) -> list[Redistributor]:
    """The redistributors whose registers were given, by number."""
    numbers = frames.numbers("GICR")
    if not numbers:
        for name in ("PROPBASER", "PENDBASER"):
            frames.want("GICR0", name, "configuration and pending state of LPIs cannot be decoded")
    typer = frames.fields("GICD", "TYPER") if numbers else None
    limit = ID_BITS[-1] if typer is None else typer["IDbits"] + 1
    return [_redistributor(frames, number, architecture, limit) for number in numbers]


def vpe_configuration_table(frames: Frames, redistributor: Redistributor) -> ItsTable | None:
    """The table that a GICv4.1 GICR_VPROPBASER describes, if it was given and is valid."""
    value = frames.value(redistributor.frame, "VPROPBASER")
    if value is None:
        return None
    table = ItsTable.of_vpropbaser(value, register=f"{redistributor.frame}_VPROPBASER", kind="vpe")
    return table if table.valid else None


def _redistributor(frames: Frames, number: int, architecture: str, limit: int) -> Redistributor:
    frame = f"GICR{number}"
    ctlr = frames.want(frame, "CTLR", "whether its LPIs are enabled")
    propbaser = frames.want(frame, "PROPBASER", "which LPIs are enabled, and their priorities")
    pendbaser = frames.want(frame, "PENDBASER", "which LPIs are pending")
    typer = frames.fields(frame, "TYPER")
    declared = None if propbaser is None else propbaser["IDbits"] + 1
    address = frames.value(frame, RD_BASE)
    return Redistributor(
        number,
        number if typer is None else typer["Processor_Number"],
        UNKNOWN if address is None else address,
        typer is not None and bool(typer["Last"]),
        None if ctlr is None else bool(ctlr["EnableLPIs"]),
        declared,
        min(DEFAULT_ID_BITS if declared is None else declared, limit, ID_BITS[-1]),
        UNKNOWN if propbaser is None else propbaser["Physical_Address"],
        UNKNOWN if pendbaser is None else pendbaser["Physical_Address"],
        *_virtual(frames, frame, architecture),
    )


def _virtual(frames: Frames, frame: str, architecture: str) -> tuple[int, int, int]:
    """The resident vPE; in GICv4.0 the last VPT, and the vLPI configuration table."""
    if architecture == "3":
        return UNKNOWN, UNKNOWN, UNKNOWN
    vpendbaser = frames.want(frame, "VPENDBASER", "which vPE is resident", architecture)
    is_resident = vpendbaser is not None and vpendbaser["Valid"]
    if architecture == "4.1":
        return vpendbaser["vPEID"] if vpendbaser and is_resident else UNKNOWN, UNKNOWN, UNKNOWN
    vpropbaser = frames.want(frame, "VPROPBASER", "which vLPIs are enabled, and their priorities", architecture)
    vpt, configuration = (
        UNKNOWN if fields is None else fields["Physical_Address"] or UNKNOWN for fields in (vpendbaser, vpropbaser)
    )
    return vpt if is_resident else UNKNOWN, vpt, configuration


_VCPUS = 1 << 16
_SHIFT = 16
"""RDbase is in units of 64 KiB (IHI0069, ITS commands)."""


class RDbases:
    """The redistributors of a machine by what names them; `vcpus` are those of a guest's, if it is one."""

    def __init__(self, redistributors: Sequence[Redistributor], vcpus: int | None) -> None:
        self.numbers = {one.processor_number for one in redistributors} | set(range(min(vcpus or 0, _VCPUS)))
        self._is_guest = vcpus is not None
        self.known = self.numbers if self._is_guest or _all_given(redistributors) else None
        """The Processor_Numbers that there are; None if there may be others."""
        having = [one for one in redistributors if one.address != UNKNOWN]
        self._by_address = {one.address >> _SHIFT: one.processor_number for one in having}
        self._addresses_complete = _all_given(redistributors) and len(having) == len(redistributors)

    def number(self, rdbase: int, pta: bool | None) -> int:
        """The Processor_Number that a command's RDbase means, or UNKNOWN; `pta` is None without GITS_TYPER."""
        if pta and not self._is_guest:
            return self._by_address.get(rdbase, UNKNOWN)
        return rdbase if self._are_numbers(pta) or rdbase in self.numbers else UNKNOWN

    def is_none(self, rdbase: int, pta: bool | None) -> bool:
        """Whether no redistributor can be what a command's RDbase says."""
        if pta and not self._is_guest:
            return self._addresses_complete and rdbase not in self._by_address
        return self._are_numbers(pta) and self.known is not None and rdbase not in self.known

    def _are_numbers(self, pta: bool | None) -> bool:
        """KVM's ITS has PTA = 0 in every release (Linux vgic-its.c)."""
        return self._is_guest or pta is False


def _all_given(redistributors: Sequence[Redistributor]) -> bool:
    """Whether the frames are all there are: from 0 without a gap up to one that says so (DDI0601 GICR_TYPER.Last).

    A region of redistributors ends at each such frame; of a further region somebody would have given a frame.
    """
    numbers = [one.number for one in redistributors]
    return numbers == list(range(len(numbers))) and bool(redistributors) and redistributors[-1].last
