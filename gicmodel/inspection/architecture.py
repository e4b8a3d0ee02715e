# SPDX-License-Identifier: Apache-2.0
"""Which generation of the architecture registers are of."""

from __future__ import annotations

from gicmodel.inspection.frames import Frames
from gicmodel.layouts.its_tables import VTE
from gicmodel.layouts.registers.its import BASERS
from gicmodel.layouts.table import TableType


def architecture_of(frames: Frames) -> str:
    """`"3"`, `"4.0"` or `"4.1"`, as GITS_TYPER or GICR_TYPER say; without them, as the other registers imply."""
    seen = [_by_typer(frames, f"GITS{n}", "Virtual", "VMAPP") for n in frames.numbers("GITS")]
    seen += [_by_typer(frames, f"GICR{n}", "VLPIS", "RVPEID") for n in frames.numbers("GICR")]
    told = [architecture for architecture in seen if architecture is not None]
    return max(told) if told else _by_tables(frames)


def _by_typer(frames: Frames, frame: str, virtual: str, v41: str) -> str | None:
    typer = frames.fields(frame, "TYPER")
    if typer is None:
        return None
    if not typer[virtual]:
        return "3"
    return "4.1" if typer[v41] else "4.0"


def _by_tables(frames: Frames) -> str:
    """Without a TYPER: a vPE table is of GICv4, and a valid vPE configuration table, or wide entries, of GICv4.1."""
    basers = [frames.fields(f"GITS{its}", f"BASER{n}") for its in frames.numbers("GITS") for n in range(BASERS)]
    vpe_tables = [baser for baser in basers if baser is not None and baser["Type"] == TableType.VPES]
    vpropbasers = [frames.fields(f"GICR{n}", "VPROPBASER") for n in frames.numbers("GICR")]
    if any(found["Valid"] for found in vpropbasers if found is not None):
        return "4.1"
    if any(baser["Entry_Size"] + 1 > VTE.bytes for baser in vpe_tables):
        return "4.1"
    return "4.0" if vpe_tables or any(found is not None for found in vpropbasers) else "3"
