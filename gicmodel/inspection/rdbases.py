# SPDX-License-Identifier: Apache-2.0
"""Which redistributor an RDbase names, as far as the registers tell, and whether it can be one at all.

Table entries of the known formats have the Processor_Number. Commands have it if GITS_TYPER.PTA is 0; if it is 1 they
have bits [51:16] of RD_base, the address of the redistributor's first frame, which no register holds: it is given as
`RD_base` of its frame. That a redistributor was not given does not say that there is none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gicmodel.inspection.entries import UNKNOWN
from gicmodel.inspection.redistributors import Redistributor

_VCPUS = 1 << 16
_SHIFT = 16
"""RDbase is in units of 64 KiB (IHI0069, ITS commands)."""


class RDbases:
    """The redistributors of a machine by what names them; `vcpus` are those of a guest's, if it is one."""

    def __init__(self, redistributors: Sequence[Redistributor], vcpus: int | None) -> None:
        self.numbers = {one.processor_number for one in redistributors} | set(range(min(vcpus or 0, _VCPUS)))
        self._is_guest = vcpus is not None
        self.complete = vcpus is not None or _all_given(redistributors)
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
        return self._are_numbers(pta) and self.complete and rdbase not in self.numbers

    def _are_numbers(self, pta: bool | None) -> bool:
        """KVM's ITS has PTA = 0 in every release (Linux vgic-its.c)."""
        return self._is_guest or pta is False

    @property
    def known(self) -> Collection[int] | None:
        """The Processor_Numbers that there are; None if there may be others."""
        return self.numbers if self.complete else None


def _all_given(redistributors: Sequence[Redistributor]) -> bool:
    """Whether the frames are all there are: from 0 without a gap up to one that says so (DDI0601 GICR_TYPER.Last).

    A region of redistributors ends at each such frame; of a further region somebody would have given a frame.
    """
    numbers = [one.number for one in redistributors]
    return numbers == list(range(len(numbers))) and bool(redistributors) and redistributors[-1].last
