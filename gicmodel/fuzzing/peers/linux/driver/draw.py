# SPDX-License-Identifier: Apache-2.0
"""Random hosts, and random operations on them. Numbers are few, so that operations meet what others have left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.fuzzing.peers.linux.driver.machine import MOST_VECTORS, HostMachine
from gicmodel.fuzzing.programs.program import Event, Step
from gicmodel.layouts.lpi_tables import FIRST_LPI

_DEVICE_IDS = (0, 1, 0x10, 0x7FE)
_VCPUS, _VMS, _VECTORS = 4, 2, 8
_SGIS = (0, 1, 7, 15)
_OF_VSGIS = ("end_vsgi", "set_vsgi", "enable_vsgi", "set_vsgi_pending", "vsgi_pending")
_REMEMBERED = 12
_BYTES = (0xA3, 0xA2, 0x03, 0x43, 0xFF, 0xA1, 0x42)

_WEIGHTS = {
    **{"add_device": 3, "remove_device": 3, "request": 12, "free": 3, "raise": 40, "affinity": 8, "mask": 6},
    **{"meanwhile": 20, "set_pending": 10, "interrupts": 12, "suspend": 0.5, "plug": 3, "unplug": 1, "boot": 0.05},
    "kexec": 0.5,
}
_VIRTUAL_WEIGHTS = {
    **{"begin_vm": 4, "end_vm": 1, "forward": 16, "unforward": 4, "configure": 8, "load": 20, "put": 12, "take": 12},
    "invall": 2,
}
_V41_WEIGHTS = {
    **{"save": 1, "begin_vsgi": 5, "end_vsgi": 3, "set_vsgi": 3, "enable_vsgi": 3, "set_vsgi_pending": 10},
    "vsgi_pending": 5,
}


def draw_machine(random: np.random.Generator, architecture: str) -> HostMachine:
    """A host whose GIC retains and puts off what it may."""
    source = Random(int(random.integers(1 << 62)))
    pick, v41 = source.choice, architecture == "4.1"
    late = pick((False, False, True))
    vmovp = pick((True, True, False))
    # GICv4.0 promises nothing of the VPT of a vPE that is unmapped. What Linux maps again is to find it as it was.
    sets = (1, 256) if vmovp or v41 else (256,)
    config = GicConfig(
        architecture=architecture,  # type: ignore[arg-type]
        its=pick((1, 2, 3)),
        redistributors=pick((2, 4, 4, 18)),
        caching="retain" if late else pick(("retain", "retain", "none")),
        vmovp=vmovp,
        vpt_writeback=pick(("unmap", "unmap", "deschedule", "immediate")),
        pending_writeback=pick(("disable", "immediate")),
        commands_per_step=None if late else pick((None, 1, 3)),
        svpet=pick(range(4)),
        common_lpi_aff=pick(range(4)),
        pta=pick((False, True)),
        direct_lpi=v41 or pick((True, False)),
        vpt_cache_sets=pick(sets),
        table_cache_lines=pick((1, 16, 1 << 14)),
    )
    return HostMachine(config, late)


def draw_steps(random: np.random.Generator, machine: HostMachine, count: int, invs: Sequence[int] = (1,)) -> list[Step]:
    """`count` operations; `invs`: whether a byte of configuration is to be read anew."""
    return list(islice(_Draw(Random(int(random.integers(1 << 62))), machine, invs).steps(), count))


class _Draw:
    """`devices` and `vms`: how many vectors and vCPUs, of what most probably is there, as `vsgis` are."""

    def __init__(self, random: Random, machine: HostMachine, invs: Sequence[int]) -> None:
        self.random = random
        self.machine = machine
        virtual = _VIRTUAL_WEIGHTS if machine.config.virtual else {}
        weights = {**_WEIGHTS, **virtual, **(_V41_WEIGHTS if machine.config.v41 else {})}
        self._verbs, self._weights = list(weights), list(weights.values())
        self.devices: dict[tuple[int, int], int] = {}
        self.vms: dict[int, int] = {}
        self.vsgis: list[tuple[int, int, int]] = []
        self._vsgi = 0, 0, 0
        self._device = 0, 0
        self._fields: dict[str, Callable[[], int]] = {
            "cpu": lambda: random.randrange(machine.config.redistributors),
            "vectors": lambda: random.choice((1, 2, 4, _VECTORS)),
            "vcpus": lambda: random.choice((1, 2, 3, _VCPUS)),
            "polls": lambda: random.choice((0, 0, 1, 2, 3, 5, 9)),
            "byte": lambda: random.choice(_BYTES),
            "inv": lambda: random.choice(invs),
            **dict.fromkeys(
                ("masked", "pending", "enabled", "group", "VGrp0En", "Doorbell"), lambda: random.randrange(2)
            ),
        }

    def steps(self) -> Iterator[Event]:
        """Operations without end. A kernel that has booted gets devices first."""
        yield from self._begun()
        while True:
            step = self._step()
            yield step
            if step.verb in ("boot", "kexec"):
                yield from self._begun()

    def _begun(self) -> Iterator[Event]:
        self.devices, self.vms, self.vsgis = {}, {}, []
        for _ in range(self.random.randrange(1, 4)):
            yield (added := self._drawn("add_device"))
            its, device_id, vectors = added.values
            yield from (Event("request", (its, device_id, event)) for event in range(vectors))
        if self.machine.config.virtual:
            yield self._drawn("begin_vm")

    def _step(self) -> Event:
        return self._drawn(self.random.choices(self._verbs, self._weights)[0])

    def _drawn(self, verb: str) -> Event:
        values: dict[str, int] = {}
        for name in HostMachine.events[verb]:
            values[name] = self._fields[name]() if name in self._fields else self._number(verb, name, values)
        self._remember(verb, values)
        return Event(verb, tuple(values.values()))

    def _number(self, verb: str, name: str, values: dict[str, int]) -> int:
        """A number of what is there, or of what is to be new."""
        random = self.random
        if name in ("vm", "vcpu", "SGI") and verb in _OF_VSGIS and self.vsgis:
            self._vsgi = random.choice(self.vsgis) if name == "vm" else self._vsgi
            return self._vsgi[("vm", "vcpu", "SGI").index(name)]
        if name == "SGI":
            return random.choice(_SGIS)
        if name == "vm":
            return random.choice(list(self.vms)) if self.vms and verb != "begin_vm" else random.randrange(_VMS)
        if name == "vcpu":
            return random.randrange(self.vms.get(values["vm"], 1))
        if name == "vINTID":
            return self._vintid(values)
        if verb == "add_device" or not self.devices:
            return random.randrange(self.machine.config.its) if name == "its" else random.choice(_DEVICE_IDS)
        if name == "its":
            self._device = random.choice(list(self.devices))
        its, device_id = self._device
        if name == "EventID":
            return random.randrange(self.devices[its, device_id])
        return its if name == "its" else device_id

    def _vintid(self, values: dict[str, int]) -> int:
        """A vLPI belongs to an event."""
        device = _DEVICE_IDS.index(values["DeviceID"]) + len(_DEVICE_IDS) * values["its"]
        return FIRST_LPI + 3 + 50 * (device * MOST_VECTORS + values["EventID"])

    def _remember(self, verb: str, values: dict[str, int]) -> None:
        if verb == "add_device":
            self.devices.setdefault((values["its"], values["DeviceID"]), values["vectors"])
        elif verb == "begin_vsgi":
            self.vsgis = [*self.vsgis[-_REMEMBERED:], (values["vm"], values["vcpu"], values["SGI"])]
        elif verb == "begin_vm":
            self.vms.setdefault(values["vm"], values["vcpus"])
