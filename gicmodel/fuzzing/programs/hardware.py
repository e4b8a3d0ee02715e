# SPDX-License-Identifier: Apache-2.0
"""Programs for the hardware: its choices, the geometry of the tables, commands and what software does between them.

A machine is two lines: `config` has the fields of `GicConfig` that are not its defaults, `tables` the geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from gicmodel.config import FIRST_PPI, GicConfig
from gicmodel.fuzzing.programs.notation import Notation, assignments, number, numbers, within
from gicmodel.fuzzing.programs.program import Program
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
class Machine:
    """What a program runs on: the hardware's choices, and how software lays out the ITS tables."""

    config: GicConfig
    geometry: Geometry


def draw_geometry(random: np.random.Generator) -> Geometry:
    """Any layout of tables that a program can name."""
    return Geometry(int(random.integers(_PAGE_SIZES)), bool(random.integers(2)), int(random.integers(1, _MOST_PAGES)))


def limits(machine: Machine) -> dict[str, range]:
    """The values that each field of an event may have."""
    config = machine.config
    word, flag = range(1 << 32), range(2)
    return {
        **{"its": range(config.its), "rd": range(config.redistributors)},
        **{"itt": range(ITTS), "vpt": range(VPTS), "vconf": range(VCONFS)},
        **{"DeviceID": word, "EventID": word, "INTID": word, "Default_Doorbell": word},
        **{"vPEID": range(1 << 16), "vSGI": range(VSGIS), "bits": range(14, 33), "byte": range(256)},
        "LPI": range(FIRST_LPI, 1 << config.intid_bits),
        **dict.fromkeys(("EnableLPIs", "PTZ", "VGrp0En", "VGrp1En", "Doorbell", "PendingLast"), flag),
        **dict.fromkeys(("replace", "Enabled", "level", "ProcessorSleep", "group"), flag),
        **{"input": range(FIRST_PPI, INTIDS), "interrupt": range(INTIDS), "n": range(INTIDS // 4), "ends": range(3)},
        "value": range(1 << 64),
    }


class HardwareNotation(Notation[Machine]):
    """Programs for `Machine`."""

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

    def architecture(self, machine: Machine) -> str:
        """The GIC's."""
        return machine.config.architecture

    def limits(self, machine: Machine) -> dict[str, range]:
        """`program.limits`."""
        return limits(machine)

    def describe(self, machine: Machine) -> Iterator[list[str]]:
        """The choices that are none of the defaults, and all of the geometry."""
        geometry = machine.geometry
        yield ["config", *choices_of(machine.config)]
        yield [
            "tables",
            f"page_size={geometry.page_size}",
            f"indirect={int(geometry.indirect)}",
            f"pages={geometry.pages}",
        ]

    def machine(self, line: Callable[[str], list[str]]) -> Machine:
        """The machine of a config and a geometry."""
        config = config_of(line("config"))
        known = {"page_size": range(_PAGE_SIZES), "indirect": range(2), "pages": range(1, _MOST_PAGES)}
        tables = numbers("tables", line("tables"), known)
        return Machine(config, Geometry(tables["page_size"], bool(tables["indirect"]), tables["pages"]))

    def simpler_machines(self, program: Program) -> Iterator[Machine]:
        """Fewer ITSs, default choices, the smallest tables."""
        machine = program.machine
        config = machine.config
        used = 1 + max((self.fields(step, machine).get("its", 0) for step in program.steps), default=0)
        configs = [replace(config, its=used)] if used < config.its else []
        defaults = {name: getattr(_DEFAULTS, name) for name in _DEFAULTED}
        configs += [replace(config, **{name: to}) for name, to in defaults.items() if getattr(config, name) != to]
        yield from (Machine(simpler, machine.geometry) for simpler in configs)
        if machine.geometry != Geometry():
            yield Machine(config, Geometry())

    def renamed(self, program: Program) -> Iterable[str]:
        """Hardware that retains need not see that another device's ITT becomes a device's."""
        if program.machine.config.caching == "retain":
            return tuple(name for name in self.names if name != "DeviceID")
        return self.names


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


NOTATION = HardwareNotation()
