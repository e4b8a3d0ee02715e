# SPDX-License-Identifier: Apache-2.0
"""The state machine notices an oracle that is wrong: each mistake here is a bug that some implementation has had."""

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from hypothesis.strategies import SearchStrategy

from gicmodel.fuzzing.machines import HardwareAgainstOracle
from gicmodel.fuzzing.oracle import Oracle
from gicmodel.fuzzing.oracle.state import Event, Vpe
from gicmodel.fuzzing.strategies import configurations
from gicmodel.hardware.config import GicConfig
from gicmodel.jit import COMPILED

SEARCH = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


class MovesNothing(Oracle):
    """MOVI and MOVALL leave pending state behind (Xen, MOVI)."""

    def move_lpis(self, source: int, target: int, intids: Iterable[int]) -> None:
        pass


class MovallOverwrites(Oracle):
    """MOVALL loses what the target has (gem5)."""

    def move_lpis(self, source: int, target: int, intids: Iterable[int]) -> None:
        super().move_lpis(source, target, intids)
        if source != target and self.redistributors[source].enabled and self.redistributors[target].enabled:
            self.redistributors[target].pending &= set(intids)


class ClearsNothing(Oracle):
    """CLEAR and DISCARD leave the pending bit."""

    def clear(self, target: object) -> None:
        pass


class LastDevice(Oracle):
    """The device bound is off by one (QEMU 80dcd37feb)."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        beyond = {"DeviceID": self.devices} if fields.get("DeviceID") == self.devices - 1 else {}
        return super().execute(its, mnemonic, **(fields | beyond))


class RingsTwice(Oracle):
    """A default doorbell stays armed after it rang."""

    def reconsider(self, vpe: Vpe, vintids: set[int] | None = None) -> None:
        armed = vpe.armed
        super().reconsider(vpe, vintids)
        vpe.armed = armed


class NeverRings(Oracle):
    """There are no default doorbells."""

    def reconsider(self, vpe: Vpe, vintids: set[int] | None = None) -> None:
        pass


class ResidencyKeepsTheDoorbell(Oracle):
    """Scheduling a vPE does not withdraw its doorbell."""

    def schedule(self, rd: int, vpeid: int, groups: frozenset[int] = frozenset({0, 1})) -> bool:
        pending = [set(redistributor.pending) for redistributor in self.redistributors]
        valid = super().schedule(rd, vpeid, groups)
        for redistributor, before in zip(self.redistributors, pending, strict=True):
            redistributor.pending = before
        return valid


class VmovpKeepsTheRedistributor(Oracle):
    """VMOVP leaves the doorbell on the old redistributor (Linux af9acbfc2c4b, an elided VMOVP)."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        before = {vpeid: vpe.redistributor for vpeid, vpe in self.vpes.items()}
        number = super().execute(its, mnemonic, **fields)
        if mnemonic == "VMOVP":
            for vpeid, redistributor in before.items():
                self.vpes[vpeid].redistributor = redistributor
        return number


class VmoviMovesNothing(Oracle):
    """VMOVI leaves the pending bit in the old VPT."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        pending = {vpt: set(table.pending) for vpt, table in self.vpts.items()}
        number = super().execute(its, mnemonic, **fields)
        if mnemonic == "VMOVI":
            for vpt, intids in pending.items():
                self.vpts[vpt].pending = intids
        return number


class CountsDisabled(Oracle):
    """PendingLast is 1, and a doorbell rings, for a pending interrupt that is disabled."""

    def virtual_properties(self, vpt: int, vconf: int, vintid: int) -> tuple[bool, int, int]:
        return True, *super().virtual_properties(vpt, vconf, vintid)[1:]


class IgnoresGroups(Oracle):
    """Everything is virtual Group 1."""

    def virtual_properties(self, vpt: int, vconf: int, vintid: int) -> tuple[bool, int, int]:
        return *super().virtual_properties(vpt, vconf, vintid)[:2], 1


class IgnoresPriority(Oracle):
    """The lowest INTID comes first, whatever its priority."""

    def set_configuration(self, intid: int, byte: int) -> None:
        super().set_configuration(intid, byte % 4)


class MapdClearsTheItt(Oracle):
    """MAPD forgets what the ITT holds."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        if mnemonic == "MAPD":
            self.itts[fields["ITT_addr"]].clear()
        return super().execute(its, mnemonic, **fields)


class MapcMovesPending(Oracle):
    """MAPC to another redistributor takes pending state along."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        old = self.its[its].collections.get(fields.get("ICID", -1))
        number = super().execute(its, mnemonic, **fields)
        new = self.its[its].collections.get(fields.get("ICID", -1))
        if mnemonic == "MAPC" and old is not None and new is not None:
            self.move_lpis(old, new, self.pending(old))
        return number


class IgnoresRemapping(Oracle):
    """MAPTI over a mapped event is ignored (Xen)."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        device = self.its[its].devices.get(fields.get("DeviceID", -1))
        known: Mapping[int, Event] = self.itts[device.itt] if device else {}
        before = dict(known)
        number = super().execute(its, mnemonic, **fields)
        if mnemonic == "MAPTI" and device and number == 0:
            self.itts[device.itt].update(before)
        return number


MISTAKES = [
    MovesNothing,
    MovallOverwrites,
    ClearsNothing,
    LastDevice,
    RingsTwice,
    NeverRings,
    ResidencyKeepsTheDoorbell,
    VmovpKeepsTheRedistributor,
    VmoviMovesNothing,
    CountsDisabled,
    IgnoresGroups,
    IgnoresPriority,
    MapdClearsTheItt,
    MapcMovesPending,
    IgnoresRemapping,
]


class SmallMachine(HardwareAgainstOracle):
    """A GICv4.1 that never stalls."""

    @staticmethod
    def configurations() -> SearchStrategy[GicConfig]:
        return configurations(
            architecture="4.1",
            its=1,
            redistributors=3,
            command_errors="ignore",
            device_id_bits=9,
            collection_id_bits=8,
            vpe_id_bits=7,
            vpt_cache_sets=1,
            vpt_writeback="immediate",
            pending_writeback="immediate",
        )


@pytest.mark.slow
@pytest.mark.skipif(not COMPILED, reason="a search of this size takes the compiled engine")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_notices(mistake: type[Oracle]) -> None:
    machine = type("Machine", (SmallMachine,), {"oracle_class": mistake})
    with pytest.raises(AssertionError, match=r"hardware .*, oracle "):
        run_state_machine_as_test(machine, settings=SEARCH)
