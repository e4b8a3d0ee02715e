# SPDX-License-Identifier: Apache-2.0
"""Fuzzing programs: a machine and the steps that both sides of a comparison are given.

A step is an ITS command, or an `Event`: a register write, a byte of configuration, an acknowledge. Any part of a
program is a program: a step that makes no sense where it stands does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from gicmodel.config import GicConfig
from gicmodel.lab.geometry import Geometry
from gicmodel.lab.placement import ITTS, VCONFS, VPTS
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS

CommandWords = tuple[int, int, int, int]


class Command(NamedTuple):
    """Four words for the queue of an ITS."""

    its: int
    words: CommandWords


class Event(NamedTuple):
    """What else may happen: a key of `EVENTS`, and the values of its fields."""

    verb: str
    values: tuple[int, ...]


Step = Command | Event

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
}
"""The fields of each event; a method of `pair.Pair` says what it does. `itt`, `vpt` and `vconf` count the tables of the
universe; `LPI` is an INTID that has a configuration byte."""


@dataclass(frozen=True)
class Machine:
    """What a program runs on: the hardware's choices, and how software lays out the ITS tables."""

    config: GicConfig
    geometry: Geometry


@dataclass(frozen=True)
class Program:
    """Steps for a machine, `Machine` or what the peer of that name has instead."""

    against: str
    machine: Any
    steps: tuple[Step, ...]

    @property
    def commands(self) -> int:
        """How many steps are ITS commands."""
        return sum(isinstance(step, Command) for step in self.steps)

    def of(self, steps: Sequence[Step]) -> Program:
        """Other steps for the same machine and peer."""
        return Program(self.against, self.machine, tuple(steps))


def runs(steps: Sequence[Step]) -> Iterator[tuple[int, list[CommandWords]] | Event]:
    """The steps with commands in a row for one ITS, which can be written at once, put together as (ITS, commands)."""
    for its, group in groupby(steps, lambda step: step.its if isinstance(step, Command) else None):
        if its is None:
            yield from (step for step in group if isinstance(step, Event))
        else:
            yield its, [step.words for step in group if isinstance(step, Command)]


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
        **dict.fromkeys(("replace", "Enabled"), flag),
    }
