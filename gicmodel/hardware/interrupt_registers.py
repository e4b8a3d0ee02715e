# SPDX-License-Identifier: Apache-2.0
"""The registers with a bit, two bits or a byte for each interrupt: in a redistributor of SGIs and PPIs, else of SPIs.

Of an interrupt that is not there they are RAZ/WI.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

from gicmodel.config import PRIORITY_BITS
from gicmodel.hardware.kernels.state import INTIDS_IN_WORD, PRIORITIES_IN_WORD, DistributorWords, RedistributorWords
from gicmodel.hardware.register_face import WORD_BITS, WORD_MASK, Handler, always

_PRIORITIES = 4
"""Priorities in a register."""
_PRIORITY_MASK = sum((0xFF << 8 - PRIORITY_BITS & 0xFF) << 8 * n for n in range(_PRIORITIES))
_CONFIGURED = WORD_BITS // 2
"""Interrupts that a GICD_ICFGR<n> or GICR_ICFGR<n> configures, by two bits each; the lower one is reserved."""

RAZ_WI = always(0)
"""A register that has no meaning where there is one Security state and no non-maskable interrupt."""


class InterruptFace(Protocol):
    """The frame of such registers."""

    _state: Any

    def implemented(self, register: int) -> bool:
        """Whether there are the 32 interrupts from 32 * `register` on; all or none are."""

    def note_disabled(self) -> None:
        """Interrupts were disabled."""


class _Part(NamedTuple):
    """Bits of the interrupts from 32 * `register` on: those of `mask` from bit `shift` on of the word at `place`."""

    place: int
    shift: int
    register: int
    mask: int = WORD_MASK

    def read(self, face: InterruptFace) -> int:
        return int(face._state[self.place]) >> self.shift & WORD_MASK

    def write(self, face: InterruptFace, value: int) -> None:
        if face.implemented(self.register):
            kept = face._state[self.place] & ~(WORD_MASK << self.shift)
            face._state[self.place] = kept | (value & self.mask) << self.shift

    def set(self, face: InterruptFace, value: int) -> None:
        if face.implemented(self.register):
            face._state[self.place] |= (value & self.mask) << self.shift

    def clear(self, face: InterruptFace, value: int) -> None:
        face._state[self.place] &= ~(value << self.shift)


def interrupt_handlers(
    frame: str, words: RedistributorWords | DistributorWords, registers: Iterable[int]
) -> dict[str, Handler]:
    """The handlers of `frame`'s registers, of the 32 interrupts from 32 * n on for each n, with their state there."""
    return {f"{frame}_{name}": handler for n in registers for name, handler in _handlers(words, n)}


def _handlers(words: RedistributorWords | DistributorWords, n: int) -> Iterator[tuple[str, Handler]]:
    word, shift = divmod(n * WORD_BITS, INTIDS_IN_WORD)
    igroup, enable, pending, level, active, edge = (
        _Part(place + word, shift, n)
        for place in (words.igroup, words.enable, words.pending, words.level, words.active, words.edge)
    )
    read_pending = partial(_read_pending, pending, level, edge)
    yield f"IGROUPR{n}", Handler(igroup.read, igroup.write)
    yield f"ISENABLER{n}", Handler(enable.read, enable.set)
    yield f"ICENABLER{n}", Handler(enable.read, partial(_disable, enable))
    yield f"ISPENDR{n}", Handler(read_pending, pending.set)
    yield f"ICPENDR{n}", Handler(read_pending, pending.clear)
    yield f"ISACTIVER{n}", Handler(active.read, active.set)
    yield f"ICACTIVER{n}", Handler(active.read, active.clear)
    yield f"IGRPMODR{n}", RAZ_WI
    yield f"INMIR{n}", RAZ_WI
    for half in range(WORD_BITS // _CONFIGURED):
        yield f"ICFGR{2 * n + half}", Handler(partial(_read_config, edge, half), partial(_write_config, edge, half))
    for quarter in range(n * WORD_BITS // _PRIORITIES, (n + 1) * WORD_BITS // _PRIORITIES):
        place, byte = divmod(quarter * _PRIORITIES, PRIORITIES_IN_WORD)
        priority = _Part(words.priority + place, 8 * byte, n, _PRIORITY_MASK)
        yield f"IPRIORITYR{quarter}", Handler(priority.read, priority.write, octets=True)


def _disable(enable: _Part, face: InterruptFace, value: int) -> None:
    enable.clear(face, value)
    face.note_disabled()


def _read_pending(pending: _Part, level: _Part, edge: _Part, face: InterruptFace) -> int:
    """Made pending, or level-sensitive with a high input."""
    return pending.read(face) | level.read(face) & ~edge.read(face)


def _read_config(edge: _Part, half: int, face: InterruptFace) -> int:
    edges = edge.read(face) >> _CONFIGURED * half
    return sum((edges >> n & 1) << 2 * n + 1 for n in range(_CONFIGURED))


def _write_config(edge: _Part, half: int, face: InterruptFace, value: int) -> None:
    edges = sum((value >> 2 * n + 1 & 1) << n for n in range(_CONFIGURED)) << _CONFIGURED * half
    others = edge.read(face) & ~(((1 << _CONFIGURED) - 1) << _CONFIGURED * half)
    edge.write(face, others | edges)
