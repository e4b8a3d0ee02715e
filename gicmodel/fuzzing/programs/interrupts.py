# SPDX-License-Identifier: Apache-2.0
"""Events of SGIs, PPIs, SPIs, list registers and CPU interfaces from random numbers, for `draw.draw_steps`.

They have random numbers of their own, so that what else is drawn from a seed does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gicmodel.config import CPUS_PER_CLUSTER, FIRST_SPI
from gicmodel.fuzzing.programs.program import Event
from gicmodel.fuzzing.programs.universe import Universe
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register, system_register
from gicmodel.spec.distributor import REGISTERS
from gicmodel.spec.gic import READS

_PRIORITIES = (0x80, 0x80, 0xA0, 0x60, 0x88, 0x48, 0x00, 0xA7, 0xF8)
_MASKS = (0xFF, 0xFF, 0xF8, 0xA0, 0x80, 0x00)
_ON = 0.85
"""How often an enable is set."""
_NOISE = 0.02
"""How often bits are written that a register does not have."""
_WORD = (1 << 64) - 1
_EOI = 1 << 9
"""ICH_LR<n>_EL2 with HW=0: ask for a maintenance interrupt."""


Draw = Callable[[], list[Event]]
Kind = tuple[float, Draw]
"""How often events come, and what draws them."""


class Kinds:
    """Draws events of some kinds."""

    def __init__(self, random: np.random.Generator, kinds: Sequence[Kind]) -> None:
        self._random = random
        self._draws = [draw for _, draw in kinds]
        shares = np.cumsum([weight for weight, _ in kinds])
        self._upto = shares / shares[-1]

    def some(self, count: int) -> Iterator[Event]:
        """`count` times an event, or a few that belong together.

        Kinds are chosen as by `random.choice` with weights, which first looks at these each time.
        """
        for kind in self._upto.searchsorted(self._random.random(count), side="right").tolist():
            yield from self._draws[kind]()

    def _pick(self, pool: Sequence[int]) -> int:
        return pool[int(self._random.integers(len(pool)))]

    def _chance(self, share: float) -> int:
        return int(self._random.random() < share)


class InterruptEvents(Kinds):
    """Draws events for a universe's machine."""

    def __init__(self, random: np.random.Generator, universe: Universe) -> None:
        self._config = config = universe.config
        spis = (32, 33, 63, 64, FIRST_SPI + config.spis - 1) if config.spis else ()
        self._private = (0, 3, 15, 16, 20, 31, config.maintenance_intid)
        self._wired = (*self._private, *dict.fromkeys(spis))
        self._vintids = (1, 5, 20, 40, FIRST_LPI, FIRST_LPI + 1, 3, 15, 1021)
        self._ended = (*self._wired, FIRST_LPI, FIRST_LPI + 1, 1019, 1021, 1023, 4000, 1 << config.intid_bits)
        kinds = [
            (5.0, self._input),
            (2.0, self._sgi),
            (5.0, self._taking("take")),
            (4.0, self._taking("take_virtual")),
            (3.0, self._list_register),
            (1.5, self._end),
            (1.5, self._register),
            (1.0, self._priority),
            (1.0, lambda: [self._of_interface("ICC")]),
            (1.0, self._hypervisor),
            (1.0, lambda: [self._of_interface("ICV")]),
            (0.5, self._read),
            (0.3, self._route),
            (0.2, self._distributor),
            (0.2, self._sleep),
        ]
        super().__init__(random, kinds)

    def boot(self) -> Iterator[Event]:
        """Enable every interrupt of the pools, in either group, and both CPU interfaces of each PE."""
        yield Event("GICD_CTLR", (register("GICD_CTLR").layout.pack(EnableGrp0=1, EnableGrp1=1),))
        for name in ("IGROUPR", "ISENABLER"):
            for number in range(FIRST_SPI // 32, FIRST_SPI // 32 + self._config.spis // 32):
                yield Event(f"GICD_{name}", (number, self._bits(number * 32)))
        for rd in range(self._config.redistributors):
            for name in ("IGROUPR", "ISENABLER"):
                yield Event(f"GICR_{name}", (rd, 0, self._bits(0)))
            yield from (Event("set_priority", (rd, intid, self._pick(_PRIORITIES))) for intid in self._wired)
            for name, value in (("ICC_PMR_EL1", 0xFF), ("ICC_IGRPEN0_EL1", 1), ("ICC_IGRPEN1_EL1", 1)):
                yield Event(f"write_{name}", (rd, value))
            yield self._system("ICH_HCR_EL2", rd, En=1)
            yield self._system("ICH_VMCR_EL2", rd, VPMR=0xFF, VENG0=1, VENG1=1)

    def _rd(self) -> int:
        return int(self._random.integers(self._config.redistributors))

    def _bits(self, first: int, share: float = 0.7) -> int:
        """A register of 32 interrupts: some of those of the pools."""
        return sum(
            1 << intid - first for intid in set(self._wired) if first <= intid < first + 32 and self._chance(share)
        )

    def _noisy(self, value: int) -> int:
        noise = int(self._random.integers(_WORD, endpoint=True, dtype=np.uint64)) if self._chance(_NOISE) else 0
        return value | noise

    def _system(self, name: str, rd: int, **fields: int) -> Event:
        return Event(f"write_{name}", (rd, self._noisy(system_register(name).layout.pack(**fields))))

    # Interrupts.

    def _input(self) -> list[Event]:
        if self._chance(0.15):
            return [Event(f"GICD_{('SETSPI', 'CLRSPI')[self._chance(0.4)]}_NSR", (self._pick(self._wired),))]
        return [Event("set_line", (self._rd(), max(self._pick(self._wired), 16), self._chance(0.6)))]

    def _sgi(self) -> list[Event]:
        name = ("ICC_SGI1R_EL1", "ICC_SGI1R_EL1", "ICC_SGI0R_EL1", "ICC_ASGI1R_EL1")[int(self._random.integers(4))]
        targets = {"TargetList": int(self._random.integers(1 << 16)), "IRM": self._chance(0.2)}
        elsewhere = {"Aff1": 1} if self._chance(0.1) else {"RS": 1} if self._chance(0.1) else {}
        return [self._system(name, self._rd(), INTID=self._pick((0, 3, 15)), **targets, **elsewhere)]

    def _taking(self, verb: str) -> Draw:
        """What draws two of those that take an interrupt."""
        return lambda: [Event(verb, (self._rd(), self._chance(0.7), self._pick((0, 1, 1, 2)))) for _ in range(2)]

    def _end(self) -> list[Event]:
        interface = ("ICC", "ICV")[self._chance(0.5)]
        ends = ("EOIR0", "EOIR1", "EOIR1", "DIR")[int(self._random.integers(4))]
        pool = self._ended if interface == "ICC" else self._vintids
        return [Event(f"write_{interface}_{ends}_EL1", (self._rd(), self._noisy(self._pick(pool))))]

    def _list_register(self) -> list[Event]:
        hardware = self._chance(0.3)
        pintid = self._pick(self._ended) if hardware else _EOI * self._chance(0.5)
        name = f"ICH_LR{int(self._random.integers(self._config.list_registers))}_EL2"
        state = {"State": self._pick((1, 1, 1, 0, 2, 3)), "HW": hardware, "Group": self._chance(0.7)}
        # Not all of an LPI's number is there.
        which = {"pINTID": pintid % (1 << 13), "vINTID": self._pick(self._vintids)}
        return [self._system(name, self._rd(), Priority=self._pick(_PRIORITIES), **state, **which)]

    # Registers.

    def _register(self) -> list[Event]:
        name = list(REGISTERS)[int(self._random.integers(len(REGISTERS)))]
        size = REGISTERS[name].intids
        number = self._pick(self._wired) // size
        share = 0.85 if name == "ISENABLER" else 0.2
        value = self._bits(number * size, share) if size == 32 else int(self._random.integers(1 << 32))
        if number * size < FIRST_SPI and self._chance(0.9):
            return [Event(f"GICR_{name}", (self._rd(), number, value))]
        return [Event(f"GICD_{name}", (number, value))]

    def _priority(self) -> list[Event]:
        return [Event("set_priority", (self._rd(), self._pick(self._wired), self._pick(_PRIORITIES)))]

    def _of_interface(self, interface: str) -> Event:
        """A register that says how interrupts are signalled."""
        rd, group = self._rd(), self._chance(0.5)
        name, value = (
            ("PMR", self._pick(_MASKS)),
            (f"BPR{group}", int(self._random.integers(8))),
            ("CTLR", self._chance(0.4) << 1 | self._chance(0.3)),
            (f"IGRPEN{group}", self._chance(_ON)),
            (f"AP{group}R0", self._active()),
        )[int(self._random.integers(5))]
        return Event(f"write_{interface}_{name}_EL1", (rd, self._noisy(value)))

    def _active(self) -> int:
        """Active priorities: mostly none, as every one of them holds others back."""
        return 1 << int(self._random.integers(32)) if self._chance(0.3) else 0

    def _hypervisor(self) -> list[Event]:
        rd, which = self._rd(), int(self._random.integers(4))
        if which == 0:
            group = self._chance(0.5)
            return [Event(f"write_ICH_AP{group}R0_EL2", (rd, self._active()))]
        if which == 1:
            layout = system_register("ICH_VMCR_EL2").layout
            fields = {name: int(self._random.integers(int(layout[name].mask) + 1)) for name in layout.fields}
            return [
                self._system("ICH_VMCR_EL2", rd, **fields | {"VPMR": self._pick(_MASKS), "VENG1": self._chance(_ON)})
            ]
        layout = system_register("ICH_HCR_EL2").layout
        fields = {name: self._chance(0.15) for name in layout.fields}
        return [
            self._system("ICH_HCR_EL2", rd, **fields | {"En": self._chance(_ON), "EOIcount": self._pick((0, 0, 31))})
        ]

    def _read(self) -> list[Event]:
        names = sorted(READS)
        return [Event(f"read_{names[int(self._random.integers(len(names)))]}", (self._rd(),))]

    def _route(self) -> list[Event]:
        aff1, aff0 = divmod(self._rd(), CPUS_PER_CLUSTER)
        route = {"Aff0": aff0, "Aff1": aff1 + self._chance(0.1), "Interrupt_Routing_Mode": self._chance(0.2)}
        layout = register("GICD_IROUTER32").layout
        return [Event("GICD_IROUTER", (self._pick(self._wired), self._noisy(layout.pack(**route))))]

    def _distributor(self) -> list[Event]:
        enables = {f"EnableGrp{group}": self._chance(_ON) for group in (0, 1)}
        value = register("GICD_CTLR").layout.pack(nASSGIreq=self._chance(0.3), **enables)
        back = register("GICD_CTLR").layout.pack(EnableGrp0=1, EnableGrp1=1)
        return [
            Event("GICD_CTLR", (self._noisy(value),)),
            *([Event("GICD_CTLR", (back,))] if self._chance(0.7) else []),
        ]

    def _sleep(self) -> list[Event]:
        """A PE that sleeps is woken soon: it takes nothing."""
        rd = self._rd()
        wake = [Event("sleep", (rd, 0))] if self._chance(0.9) else []
        return [Event("sleep", (rd, 1)), *self._input(), *wake]
