# SPDX-License-Identifier: Apache-2.0
"""Programs for the hardware: its choices, the geometry of the tables, commands and what software does between them.

A machine is two lines: `config` has the fields of `GicConfig` that are not its defaults, `tables` the geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from gicmodel.config import FIRST_PPI, GicConfig
from gicmodel.fuzzing.programs.program import Machine, Step, assignments, number, numbers, within
from gicmodel.lab.geometry import Geometry
from gicmodel.lab.placement import ITTS, VCONFS, VPTS
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS
from gicmodel.spec.distributor import REGISTERS
from gicmodel.spec.gic import READS, WRITES

INTIDS = 1020
"""SGIs, PPIs and SPIs have INTIDs below it."""
_DEFAULTS = GicConfig()
_NO_CHOICE = "commands_per_step"
"""A comparison looks at queues that have run to their ends."""
_PAGE_SIZES = 3
_MOST_PAGES = 4
_DEFAULTED = (
    *("command_errors", "individual_doorbell", "vmovp", "nid", "discard_unmapped"),
    *("spis", "list_registers", "maintenance_intid"),
)
"""Choices of the machine that change neither where its tables are nor what a comparison may look at."""


EVENTS: dict[str, tuple[str, ...]] = {
    "translate": ("its", "DeviceID", "EventID"),
    "write_sgir": ("its", "vPEID", "vSGI"),
    "set_lpi": ("rd", "INTID"),
    "clear_lpi": ("rd", "INTID"),
    "configure": ("LPI", "byte"),
    "configure_virtual": ("vconf", "LPI", "byte"),
    "invalidate": ("vPEID", "INTID"),
    "invalidate_all": ("vPEID",),
    "enable_lpis": ("rd", "EnableLPIs", "PTZ"),
    "zero_itt": ("itt",),
    "allocate": ("its", "vpt", "rd", "Default_Doorbell"),
    "schedule": ("rd", "vPEID", "VGrp0En", "VGrp1En"),
    "schedule_v40": ("rd", "vpt", "vconf", "bits"),
    "deschedule": ("rd", "Doorbell", "PendingLast"),
    "acknowledge": ("rd",),
    "acknowledge_virtual": ("rd",),
    "retry": ("its", "replace"),
    "recover": ("its",),
    "enable_its": ("its", "Enabled"),
    "set_line": ("rd", "input", "level"),
    "set_priority": ("rd", "interrupt", "byte"),
    "sleep": ("rd", "ProcessorSleep"),
    "GICD_CTLR": ("value",),
    "GICD_IROUTER": ("interrupt", "value"),
    "GICD_SETSPI_NSR": ("interrupt",),
    "GICD_CLRSPI_NSR": ("interrupt",),
    **{f"GICD_{name}": ("n", "value") for name in REGISTERS},
    **{f"GICR_{name}": ("rd", "n", "value") for name in REGISTERS},
    "take": ("rd", "group", "ends"),
    "take_virtual": ("rd", "group", "ends"),
    **{f"read_{name}": ("rd",) for name in READS},
    **{f"write_{name}": ("rd", "value") for name in WRITES},
}
"""The fields of each event. A method of `pair.Pair` or a function of `peers.interrupts` says what it does. One that has
the name of a register writes it. `itt`, `vpt` and `vconf` count the tables of the universe; `LPI` is an INTID with a
configuration byte, `interrupt` an SGI, PPI or SPI; `ends`: a taken interrupt is ended (1), and deactivated (2)."""


MACHINE_CHOICES: dict[str, tuple[Any, ...]] = {
    "its": (1, 2, 3),
    "redistributors": (2, 3, 4, 5),
    "command_errors": ("ignore", "stall"),
    "individual_doorbell": ("edge", "every"),
    "event_id_bits": (16, 14, 5),
    "intid_bits": (16, 14, 15),
    "pta": (False, True),
    "vmovp": (False, True),
    "nid": (False, True),
}
"""Fields of `GicConfig` that any machine to be fuzzed may have any value of."""


@dataclass(frozen=True)
class GicMachine(Machine):
    """The hardware's choices, and how software lays out the ITS tables."""

    config: GicConfig
    geometry: Geometry

    events = EVENTS
    names: ClassVar[tuple[str, ...]] = (
        *("DeviceID", "EventID", "ICID", "vPEID", "RDbase", "pINTID", "vINTID", "INTID", "LPI", "rd", "vSGI", "its"),
        *("input", "interrupt", "ends"),
    )
    least: ClassVar[dict[str, int]] = {"LPI": FIRST_LPI, "input": FIRST_PPI}
    simplified: ClassVar[tuple[str, ...]] = (
        *("Size", "Priority", "Enable", "Group", "D", "DB", "SeqNum", "ITSList", "Doorbell", "Default_Doorbell"),
    )
    bits: ClassVar[tuple[str, ...]] = ("value",)

    @property
    def command_set(self) -> str:
        """The GIC's."""
        return self.config.architecture

    def limits(self) -> dict[str, range]:
        """Numbers of what the GIC and its software have."""
        config = self.config
        word, flag = range(1 << 32), range(2)
        return {
            **{"its": range(config.its), "rd": range(config.redistributors)},
            **{"itt": range(ITTS), "vpt": range(VPTS), "vconf": range(VCONFS)},
            **{"DeviceID": word, "EventID": word, "INTID": word, "Default_Doorbell": word},
            **{"vPEID": range(1 << 16), "vSGI": range(VSGIS), "bits": range(14, 33), "byte": range(256)},
            "LPI": range(FIRST_LPI, 1 << config.intid_bits),
            **dict.fromkeys(("EnableLPIs", "PTZ", "VGrp0En", "VGrp1En", "Doorbell", "PendingLast"), flag),
            **dict.fromkeys(("replace", "Enabled", "level", "ProcessorSleep", "group"), flag),
            **{"input": range(FIRST_PPI, INTIDS), "interrupt": range(INTIDS), "n": range(INTIDS // 4)},
            "ends": range(3),
            "value": range(1 << 64),
        }

    def describe(self) -> Iterator[list[str]]:
        """The choices that are none of the defaults, and all of the geometry."""
        tables = self.geometry
        yield ["config", *choices_of(self.config)]
        size = f"page_size={tables.page_size}"
        yield ["tables", size, f"indirect={int(tables.indirect)}", f"pages={tables.pages}"]

    @classmethod
    def described(cls, line: Callable[[str], list[str]]) -> Self:
        """A config and a geometry."""
        config = config_of(line("config"))
        known = {"page_size": range(_PAGE_SIZES), "indirect": range(2), "pages": range(1, _MOST_PAGES)}
        tables = numbers("tables", line("tables"), known)
        return cls(config, Geometry(tables["page_size"], bool(tables["indirect"]), tables["pages"]))

    def simpler(self, steps: Sequence[Step]) -> Iterator[Self]:
        """Fewer ITSs, default choices, the smallest tables."""
        used = 1 + max((self.fields(step).get("its", 0) for step in steps), default=0)
        choices = {"its": min(used, self.config.its)} | {name: getattr(_DEFAULTS, name) for name in _DEFAULTED}
        for name, value in choices.items():
            if getattr(self.config, name) != value:
                yield replace(self, config=replace(self.config, **{name: value}))
        if self.geometry != Geometry():
            yield replace(self, geometry=Geometry())

    def renamed(self) -> tuple[str, ...]:
        """Hardware that retains need not see that another device's ITT becomes a device's."""
        if self.config.caching == "retain":
            return tuple(name for name in self.names if name != "DeviceID")
        return self.names


def draw_geometry(random: np.random.Generator) -> Geometry:
    """Any layout of tables that a program can name."""
    return Geometry(int(random.integers(_PAGE_SIZES)), bool(random.integers(2)), int(random.integers(1, _MOST_PAGES)))


def config_of(words: list[str]) -> GicConfig:
    known = {field.name: getattr(_DEFAULTS, field.name) for field in fields(GicConfig) if field.name != _NO_CHOICE}
    choices: dict[str, Any] = {}
    for name, text in assignments(words, known):
        default = known[name]
        choices[name] = text if isinstance(default, str) else number(text)
        if isinstance(default, bool):
            choices[name] = bool(within(name, choices[name], range(2)))
    return GicConfig(**choices)


def choices_of(config: GicConfig) -> Iterator[str]:
    for field in fields(config):
        value = getattr(config, field.name)
        if value != getattr(_DEFAULTS, field.name) or field.name == "architecture":
            yield f"{field.name}={value if isinstance(value, str) else int(value)}"
