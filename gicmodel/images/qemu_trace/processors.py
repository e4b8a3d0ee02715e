# SPDX-License-Identifier: Apache-2.0
"""Which redistributor a trace means: QEMU prints a PE's affinity, commands and registers use its Processor_Number."""

from __future__ import annotations

from pathlib import Path

from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace.events import Acknowledge, Event, Glued, RedistributorRead, RedistributorWrite
from gicmodel.layouts.registers.redistributor import GICR_TYPER

MAX_PROCESSORS = 512
"""As many CPUs as QEMU's `virt` machine can have."""

VIRT_CLUSTER = 16
"""PEs with one Aff1 on QEMU's `virt` machine with a GICv3 (hw/arm/virt.c)."""

SBSA_CLUSTER = 8
"""PEs with one Aff1 on QEMU's `sbsa-ref` machine (hw/arm/sbsa-ref.c)."""

_TYPER = 0x8
_WORD_BYTES = 4


class Processors:
    """The PEs of one trace. Give it every event, then ask for `numbers`.

    Reads of GICR_TYPER in the trace tell a PE's Processor_Number. QEMU numbers PEs in the order of their affinities,
    so that what one read tells of a cluster's size holds for all. Without such a read the clusters are those of `virt`,
    or of `sbsa-ref` where the first cluster has shown its PEs 0 to 7, no cluster a PE above, and there is a second one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[int, int] = {}
        self._told: dict[int, int] = {}

    def note(self, event: Event | Glued) -> None:
        """Remember the PE that the event is of, if it is of one."""
        if isinstance(event, RedistributorRead | RedistributorWrite | Acknowledge) and event.cpu not in self._lines:
            self._lines[event.cpu] = event.line
            if len(self._lines) > MAX_PROCESSORS:
                self._refuse(event.line, f"is of one more PE than the {MAX_PROCESSORS} that QEMU has at most")
        if isinstance(event, RedistributorRead) and event.offset == _TYPER and event.size >= _WORD_BYTES:
            self._told[event.cpu] = GICR_TYPER.unpack(event.data)["Processor_Number"]

    @property
    def assumed(self) -> bool:
        """Whether there are several clusters and nothing in the trace tells how large they are."""
        return max(self._lines, default=0) >> 8 > 0 and not self._told_sizes()

    def numbers(self) -> dict[int, int]:
        """Processor_Number by affinity, of every PE that was noted.

        Raises UnusableInput, naming the line of the PE's first event, for more PEs than QEMU has and for two PEs of
        one number.
        """
        cluster = self._cluster()
        numbers: dict[int, int] = {}
        owners: dict[int, int] = {}
        for affinity, line in self._lines.items():
            number = self._told.get(affinity, (affinity >> 8) * cluster + (affinity & 0xFF))
            if number >= MAX_PROCESSORS:
                self._refuse(line, f"affinity {affinity:#x} is PE {number}; QEMU has at most {MAX_PROCESSORS}")
            owner = owners.setdefault(number, affinity)
            if owner != affinity:
                self._refuse(line, f"affinities {owner:#x} and {affinity:#x} would both be PE {number}")
            numbers[affinity] = number
        return numbers

    def _cluster(self) -> int:
        sizes = self._told_sizes()
        if len(sizes) == 1:
            return next(iter(sizes))
        levels = {affinity & 0xFF for affinity in self._lines}
        first = {affinity for affinity in self._lines if affinity < SBSA_CLUSTER}
        several = any(affinity >> 8 for affinity in self._lines)
        return SBSA_CLUSTER if several and len(first) == SBSA_CLUSTER > max(levels) else VIRT_CLUSTER

    def _told_sizes(self) -> set[int]:
        """What each read of GICR_TYPER in a cluster behind the first says of the clusters' size."""
        return {
            (number - (affinity & 0xFF)) // (affinity >> 8)
            for affinity, number in self._told.items()
            if affinity >> 8 and number > affinity & 0xFF
        }

    def _refuse(self, line: int, reason: str) -> None:
        raise UnusableInput(f"{self._path}: line {line}: {reason}")
