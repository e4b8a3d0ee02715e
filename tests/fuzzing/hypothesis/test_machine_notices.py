# SPDX-License-Identifier: Apache-2.0
"""The state machine notices an oracle that is wrong: each mistake here is a bug that some implementation has had."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from hypothesis.strategies import SearchStrategy, builds, just

from gicmodel.config import GicConfig
from gicmodel.fuzzing.hypothesis.peer_machine import HardwareAgainstPeer
from gicmodel.fuzzing.hypothesis.strategies import geometries
from gicmodel.fuzzing.peers.oracle import AgainstOracle, OraclePeer
from gicmodel.fuzzing.peers.peer import Divergence
from gicmodel.fuzzing.programs.hardware import GicMachine
from gicmodel.fuzzing.programs.universe import words
from gicmodel.jit import COMPILED
from gicmodel.lab.geometry import Geometry
from gicmodel.layouts.lpi_tables import LPI_CONFIGURATION
from gicmodel.spec import AbstractGic
from gicmodel.spec.state import Event, Residency, Vpe

Step = tuple[Any, ...]
"""The name of a method of `BootedPair`, and its arguments."""

CONFIG = GicConfig(
    redistributors=3,
    command_errors="ignore",
    device_id_bits=9,
    collection_id_bits=8,
    vpe_id_bits=7,
    vpt_cache_sets=1,
    vpt_writeback="immediate",
    pending_writeback="immediate",
)
ENABLED, DISABLED = 0xA3, 0xA2

SEARCH = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
"""Of 21 seeds none needed more than 21 examples."""


class OfConfig(HardwareAgainstPeer):
    """The GICv4.1 of CONFIG."""

    @classmethod
    def machines(cls) -> SearchStrategy[GicMachine]:
        return builds(GicMachine, just(CONFIG), geometries())


class MovesNothing(AbstractGic):
    """MOVI and MOVALL leave pending state behind (Xen, MOVI)."""

    def move_lpis(self, source: int, target: int, intids: Iterable[int]) -> None:
        pass


class MovallOverwrites(AbstractGic):
    """MOVALL loses what the target has (gem5)."""

    def move_lpis(self, source: int, target: int, intids: Iterable[int]) -> None:
        super().move_lpis(source, target, intids)
        if source != target and self.redistributors[source].enabled and self.redistributors[target].enabled:
            self.redistributors[target].pending &= set(intids)


class ClearsNothing(AbstractGic):
    """CLEAR and DISCARD leave the pending bit."""

    def clear(self, target: object) -> None:
        pass


class LastDevice(AbstractGic):
    """The device bound is off by one (QEMU 80dcd37feb)."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        beyond = {"DeviceID": self.devices} if fields.get("DeviceID") == self.devices - 1 else {}
        return super().execute(its, mnemonic, **(fields | beyond))


class RingsTwice(AbstractGic):
    """A default doorbell stays armed after it rang."""

    def reconsider(self, vpe: Vpe, vintids: set[int] | None = None) -> None:
        armed = vpe.armed
        super().reconsider(vpe, vintids)
        vpe.armed = armed


class NeverRings(AbstractGic):
    """There are no default doorbells."""

    def reconsider(self, vpe: Vpe, vintids: set[int] | None = None) -> None:
        pass


class ResidencyKeepsTheDoorbell(AbstractGic):
    """Scheduling a vPE does not withdraw its doorbell."""

    def schedule(self, rd: int, vpeid: int, groups: frozenset[int] = frozenset({0, 1})) -> bool:
        pending = [set(redistributor.pending) for redistributor in self.redistributors]
        valid = super().schedule(rd, vpeid, groups)
        for redistributor, before in zip(self.redistributors, pending, strict=True):
            redistributor.pending = before
        return valid


class VmovpKeepsTheRedistributor(AbstractGic):
    """VMOVP leaves the doorbell on the old redistributor (Linux af9acbfc2c4b, an elided VMOVP)."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        before = {vpeid: vpe.redistributor for vpeid, vpe in self.vpes.items()}
        number = super().execute(its, mnemonic, **fields)
        if mnemonic == "VMOVP":
            for vpeid, redistributor in before.items():
                self.vpes[vpeid].redistributor = redistributor
        return number


class VmoviMovesNothing(AbstractGic):
    """VMOVI leaves the pending bit in the old VPT."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        pending = {vpt: set(table.pending) for vpt, table in self.vpts.items()}
        number = super().execute(its, mnemonic, **fields)
        if mnemonic == "VMOVI":
            for vpt, intids in pending.items():
                self.vpts[vpt].pending = intids
        return number


class CountsDisabled(AbstractGic):
    """PendingLast is 1, and a doorbell rings, for a pending interrupt that is disabled."""

    def virtual_properties(self, tables: Vpe | Residency, vintid: int) -> tuple[bool, int, int]:
        return True, *super().virtual_properties(tables, vintid)[1:]


class IgnoresGroups(AbstractGic):
    """Everything is virtual Group 1."""

    def virtual_properties(self, tables: Vpe | Residency, vintid: int) -> tuple[bool, int, int]:
        return *super().virtual_properties(tables, vintid)[:2], 1


class IgnoresPriority(AbstractGic):
    """The lowest INTID comes first, whatever its priority."""

    def set_configuration(self, intid: int, byte: int) -> None:
        super().set_configuration(intid, byte % 4)


class MapdClearsTheItt(AbstractGic):
    """MAPD forgets what the ITT holds."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        if mnemonic == "MAPD":
            self.itts[fields["ITT_addr"]].clear()
        return super().execute(its, mnemonic, **fields)


class MapcMovesPending(AbstractGic):
    """MAPC to another redistributor takes pending state along."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        old = self.its[its].collections.get(fields.get("ICID", -1))
        number = super().execute(its, mnemonic, **fields)
        new = self.its[its].collections.get(fields.get("ICID", -1))
        if mnemonic == "MAPC" and old is not None and new is not None:
            self.move_lpis(old, new, self.pending(old))
        return number


class IgnoresRemapping(AbstractGic):
    """MAPTI over a mapped event is ignored (Xen)."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        device = self.its[its].devices.get(fields.get("DeviceID", -1))
        known: Mapping[int, Event] = self.itts[device.itt] if device else {}
        before = dict(known)
        number = super().execute(its, mnemonic, **fields)
        if mnemonic == "MAPTI" and device and number == 0:
            self.itts[device.itt].update(before)
        return number


def command(mnemonic: str, **fields: int) -> Step:
    return "push", 0, [words((mnemonic, fields), "4.1")]


def message(device: int, event: int) -> Step:
    return "translate", 0, device, event


def lpi_of_priority(intid: int, priority: int) -> Step:
    return "configure", intid, LPI_CONFIGURATION.pack(Priority=priority, Enable=1)


def schedule(vpeid: int, rd: int, *groups: int) -> Step:
    return "schedule", rd, vpeid, int(0 in groups), int(1 in groups)


SLEEPS = [schedule(0, 0, 0, 1), ("deschedule", 0, 1, 0)]
"""vPE 0 has waited for an interrupt on its redistributor, and its doorbell is armed."""

PROGRAMS: dict[type[AbstractGic], list[Step]] = {
    MovesNothing: [message(0, 0), command("MOVI", DeviceID=0, EventID=0, ICID=1)],
    MovallOverwrites: [message(0, 0), message(1, 0), command("MOVALL", RDbase=0, RDbase2=1)],
    ClearsNothing: [message(0, 0), command("CLEAR", DeviceID=0, EventID=0)],
    LastDevice: [("map_device", 2)],
    RingsTwice: [*SLEEPS, message(0, 1)],
    NeverRings: [*SLEEPS, message(0, 1)],
    ResidencyKeepsTheDoorbell: [*SLEEPS, message(0, 1), schedule(0, 0, 0, 1)],
    VmovpKeepsTheRedistributor: [command("VMOVP", vPEID=0, RDbase=1)],
    VmoviMovesNothing: [message(0, 1), command("VMOVI", DeviceID=0, EventID=1, vPEID=1, Doorbell=1023)],
    CountsDisabled: [("configure_virtual", 0, 8192, DISABLED), message(0, 1), schedule(0, 0, 0, 1)],
    IgnoresGroups: [
        command("VSGI", vPEID=0, vINTID=3, Enable=1, Group=0),
        ("write_sgir", 0, 0, 3),
        schedule(0, 0, 1),
    ],
    IgnoresPriority: [
        command("MAPTI", DeviceID=0, EventID=3, pINTID=8193, ICID=0),
        lpi_of_priority(8192, 0xA0),
        lpi_of_priority(8193, 0x50),
        message(0, 0),
        message(0, 3),
    ],
    MapdClearsTheItt: [("map_device", 0)],
    MapcMovesPending: [message(0, 0), command("MAPC", ICID=0, RDbase=1, V=1)],
    IgnoresRemapping: [command("MAPTI", DeviceID=0, EventID=0, pINTID=8193, ICID=0)],
}


class BootedPair(AgainstOracle):
    """All but the last device is mapped, and every interrupt is enabled."""

    def __init__(self, mistake: type[AbstractGic]) -> None:
        super().__init__(CONFIG, Geometry(), mistake)
        universe = self.universe
        everything = [
            each for each in universe.mapping_commands() if each[1].get("DeviceID") != universe.device_ids[-1]
        ]
        self.push(0, [words(each, "4.1") for each in everything])
        for intid in universe.intids:
            self.configure(intid, ENABLED)
            self.configure_virtual(0, intid, ENABLED)

    def map_device(self, index: int) -> None:
        device, itt = self.universe.device_ids[index], self.universe.itts[index]
        self.push(0, [words(("MAPD", {"DeviceID": device, "Size": 3, "ITT_addr": itt, "V": 1}), "4.1")])


def differs_at(mistake: type[AbstractGic], program: list[Step]) -> int | None:
    """The first step of a program after which there is a difference, None if there is none."""
    pair = BootedPair(mistake)
    pair.check()
    for number, (name, *arguments) in enumerate(program):
        try:
            getattr(pair, name)(*arguments)
            pair.check()
        except Divergence:
            return number
    return None


@pytest.mark.parametrize(("mistake", "program"), PROGRAMS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_the_last_step_of_a_program_shows_the_mistake(mistake: type[AbstractGic], program: list[Step]) -> None:
    assert differs_at(mistake, program) == len(program) - 1
    assert differs_at(AbstractGic, program) is None


@pytest.mark.skipif(not COMPILED, reason="a search of this size takes the compiled engine")
@pytest.mark.parametrize("mistake", [LastDevice, CountsDisabled])
def test_random_search_finds_a_mistake_that_shows_often(mistake: type[AbstractGic]) -> None:
    machine = type("OfMistake", (OfConfig,), {"peer": OraclePeer(mistake)})
    with pytest.raises(Divergence, match=r"hardware .*, oracle "):
        run_state_machine_as_test(machine, settings=SEARCH)
