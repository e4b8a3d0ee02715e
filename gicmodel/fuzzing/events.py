# SPDX-License-Identifier: Apache-2.0
"""What happens between the queues of a fuzzing program: interrupts, register writes, residency and acknowledges."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gicmodel.fuzzing.program import Event
from gicmodel.fuzzing.universe import Universe
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER

_BYTES = (0xA3, 0xA2, 0x13, 0xFF, 0xA1)
"""Configuration bytes, mostly enabled: what is disabled never gets far."""
_UNMAPPED_DEVICE = 7
_VSGIS = (0, 3, 15)
_TAKEN = 6
"""A vPE that runs takes fewer interrupts than this."""
_NARROW_VPT_BITS = 14
_LAST_VPEID = int(GICR_VPENDBASER["vPEID"].mask)


class Events:
    """Draws events for a universe."""

    def __init__(self, random: np.random.Generator, universe: Universe) -> None:
        self._random = random
        self._universe = universe
        config = universe.config
        self._kinds = [*self._physical(), *(self._virtual() if config.virtual else ())]
        self._weights = np.array([weight for weight, _ in self._kinds])
        self._weights /= self._weights.sum()

    def some(self, count: int) -> Iterator[list[Event]]:
        """`count` times an event, or a few that belong together."""
        for kind in self._random.choice(len(self._kinds), count, p=self._weights):
            yield self._kinds[int(kind)][1]()

    def its(self) -> int:
        """An ITS."""
        return int(self._random.integers(self._universe.config.its))

    def _physical(self) -> Iterator[tuple[float, Callable[[], list[Event]]]]:
        yield 3.0, self._messages
        yield 2.0, self._acknowledges
        yield 1.0, self._direct_lpi
        yield 1.0, self._configure
        yield 0.5, self._toggle_lpis
        yield 0.3, self._toggle_its
        yield 0.3, self._retry
        yield 0.2, self._zero_itt

    def _virtual(self) -> Iterator[tuple[float, Callable[[], list[Event]]]]:
        yield 1.0, self._configure_virtual
        yield 2.0, self._schedule
        yield 1.5, self._deschedule
        yield 2.0, self._acknowledge_virtual
        if self._universe.config.v41:
            yield 2.0, self._sleep_and_wake
            yield 1.0, self._vsgi
            yield 1.0, self._invalidate
            yield 0.5, self._allocate

    # Draws.

    def _pick(self, pool: tuple[int, ...]) -> int:
        return pool[int(self._random.integers(len(pool)))]

    def _chance(self, share: float) -> int:
        return int(self._random.random() < share)

    def _rd(self) -> int:
        return int(self._random.integers(self._universe.config.redistributors))

    def _vpeid(self) -> int:
        """One of the universe, or the first out of range if a register can name it."""
        return self._pick((*self._universe.vpeids, *self._universe.vpeids, min(self._universe.vpes, _LAST_VPEID)))

    def _intid(self) -> int:
        universe = self._universe
        return self._pick((*universe.intids, *universe.intids, FIRST_LPI - 1, 1 << universe.config.intid_bits))

    # Physical interrupts.

    def _messages(self) -> list[Event]:
        universe = self._universe
        devices = (*universe.device_ids, *universe.device_ids, _UNMAPPED_DEVICE, universe.devices)
        events = (0, 0, 1, 1, 3, FIRST_LPI, 1 << universe.config.event_id_bits)
        return [Event("translate", (self.its(), self._pick(devices), self._pick(events))) for _ in range(4)]

    def _acknowledges(self) -> list[Event]:
        return [Event("acknowledge", (self._rd(),)) for _ in range(3)]

    def _direct_lpi(self) -> list[Event]:
        return [Event("set_lpi" if self._chance(0.6) else "clear_lpi", (self._rd(), self._intid()))]

    def _configure(self) -> list[Event]:
        return [Event("configure", (self._pick(self._universe.intids), self._pick(_BYTES)))]

    def _toggle_lpis(self) -> list[Event]:
        return [Event("enable_lpis", (self._rd(), self._chance(0.7), self._chance(0.3)))]

    def _toggle_its(self) -> list[Event]:
        return [Event("enable_its", (self.its(), self._chance(0.7)))]

    def _retry(self) -> list[Event]:
        return [Event("retry", (self.its(), self._chance(0.5)))]

    def _zero_itt(self) -> list[Event]:
        return [Event("zero_itt", (int(self._random.integers(len(self._universe.itts))),))]

    # Virtual interrupts.

    def _configure_virtual(self) -> list[Event]:
        vconf = int(self._random.integers(len(self._universe.vconfs)))
        return [Event("configure_virtual", (vconf, self._pick(self._universe.intids), self._pick(_BYTES)))]

    def _schedule(self) -> list[Event]:
        if self._universe.config.v41:
            return [Event("schedule", (self._rd(), self._vpeid(), self._chance(0.8), self._chance(0.8)))]
        tables = int(self._random.integers(len(self._universe.vpts))), int(self._random.integers(2))
        return [Event("schedule_v40", (self._rd(), *tables, self._pick((_NARROW_VPT_BITS, 16))))]

    def _deschedule(self) -> list[Event]:
        return [Event("deschedule", (self._rd(), self._chance(0.6), self._chance(0.3)))]

    def _acknowledge_virtual(self) -> list[Event]:
        return [Event("acknowledge_virtual", (self._rd(),)) for _ in range(3)]

    def _sleep_and_wake(self) -> list[Event]:
        """A vPE runs, leaves, and interrupts come for it."""
        rd, vpeid = self._rd(), self._vpeid()
        wake = Event("write_sgir", (self.its(), vpeid, self._pick(_VSGIS)))
        # What is pending already keeps the default doorbell from being armed.
        takes = [Event("acknowledge_virtual", (rd,)) for _ in range(int(self._random.integers(_TAKEN)))]
        sleep = [Event("schedule", (rd, vpeid, 1, 1)), *takes, Event("deschedule", (rd, self._chance(0.8), 0))]
        return [*sleep, *self._messages(), *([wake] if self._chance(0.5) else [])]

    def _vsgi(self) -> list[Event]:
        return [Event("write_sgir", (self.its(), self._vpeid(), self._pick(_VSGIS)))]

    def _invalidate(self) -> list[Event]:
        if self._chance(0.4):
            return [Event("invalidate_all", (self._vpeid(),))]
        return [Event("invalidate", (self._vpeid(), self._pick(self._universe.intids)))]

    def _allocate(self) -> list[Event]:
        doorbell = self._pick((NO_DOORBELL, FIRST_LPI + 2))
        return [
            Event("allocate", (self.its(), int(self._random.integers(len(self._universe.vpts))), self._rd(), doorbell))
        ]
