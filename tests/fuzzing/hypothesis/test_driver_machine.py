# SPDX-License-Identifier: Apache-2.0
"""A driver on hardware that retains and puts off: the shipped one forgets nothing, and what others forget is named."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from hypothesis.strategies import SearchStrategy

from gicmodel.config import GicConfig
from gicmodel.driver import DriverError, GicDriver, ItsVpe, commands
from gicmodel.driver.commands import Commands
from gicmodel.driver.its import ItsNode
from gicmodel.driver.vpes import VirtualPes
from gicmodel.fuzzing.hypothesis.driver_machine import EVENT, VCPU, DriverUnderCaching, Event
from gicmodel.fuzzing.hypothesis.twin_hosts import MissingCommand
from gicmodel.layouts.commands import OPCODES

QUIET = settings(
    stateful_step_count=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
AGREE = settings(QUIET, max_examples=50)
SEARCH = settings(QUIET, max_examples=400, phases=[Phase.generate], report_multiple_bugs=False)


def machine(driver: type[GicDriver], **choices: object) -> type[DriverUnderCaching]:
    """The machine for a driver, on GICs of which some fields are given."""

    class Machine(DriverUnderCaching):
        driver_class = driver

        @staticmethod
        def configurations() -> SearchStrategy[GicConfig]:
            return DriverUnderCaching.configurations().filter(
                lambda config: all(getattr(config, name) == value for name, value in choices.items())
            )

        @precondition(lambda self: self.here.driver.gic.is_v41)
        @rule(event=EVENT, vcpu=VCPU)
        def save_a_vpe_that_was_rung(self, event: Event, vcpu: int) -> None:
            """Masking the doorbell is then a change of a configuration byte that the redistributor has read."""
            self.forward(event, vcpu, 0xA3)
            self.sleep(vcpu, doorbell=True, fire=True)
            self.map_anew(vcpu)

        @precondition(lambda self: self.here.vpes)
        @rule(event=EVENT, vcpu=VCPU)
        def disable_what_is_pending(self, event: Event, vcpu: int) -> None:
            """The redistributor has read the byte of what is pending for a vPE that runs."""
            self.forward(event, vcpu, 0xA3)
            self.run(vcpu)
            self.update_all(vcpu, 0xA2, fire=True)

    return Machine


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_the_driver_forgets_nothing(architecture: str) -> None:
    run_state_machine_as_test(machine(GicDriver, architecture=architecture), settings=AGREE)


def forgets(mnemonic: str, booted: bool) -> type[GicDriver]:
    """The driver, which never writes one command to its queues, or not after it has `booted`."""

    class Forgetful(GicDriver):
        def probe(self) -> None:
            if booted:
                super().probe()
            for its in self.gic.its:
                its.send = leaving_out(its, OPCODES[mnemonic])  # type: ignore[method-assign]
            if not booted:
                super().probe()

    return Forgetful


def leaving_out(its: ItsNode, opcode: int) -> Callable[..., None]:
    def send(*blocks: Commands) -> None:
        kept = [block[(block[:, 0] & np.uint64(0xFF)) != opcode] for block in blocks]
        if any(len(block) for block in kept):
            its.queue.send(*kept)

    return send


INTID = r"the configuration byte of INTID \d+ was written"
FORGOTTEN = [
    ("3", "SYNC", False, r"probe: SYNC of RDbase 0x\w+ is missing after MAPC "),
    ("3", "INVALL", False, r"probe: INVALL of ICID 0x0 is missing after MAPC "),
    ("3", "SYNC", True, r"lpis\.activate: SYNC of RDbase 0x\w+ is missing after MAPTI DeviceID=0x0 EventID=0x0 "),
    ("3", "INV", True, rf"INV of DeviceID 0x\d EventID \d is missing after {INTID} \(ICC_HPPIR1 of CPU \d: "),
    ("4.0", "VSYNC", True, r"VSYNC of vPEID 0x0 is missing after VMAPP vPEID=0x0 "),
    (
        "4.0",
        "VINVALL",
        True,
        r"vpes\.invall: INV of .* is missing after the configuration byte of vINTID \d+ of vPEID 0x",
    ),
    ("4.1", "VSYNC", True, r"vpes\.create_vm: VSYNC of vPEID 0x0 is missing after VMAPP Alloc=1 "),
    ("4.1", "VINVALL", True, r"vpes\.create_vm: VINVALL of vPEID 0x0 is missing after VMAPP Alloc=1 "),
    ("4.1", "INVDB", True, rf"INVDB of vPEID 0x\d is missing after {INTID}"),
]


@pytest.mark.parametrize(
    ("architecture", "mnemonic", "booted", "owed"),
    FORGOTTEN,
    ids=[f"{mnemonic} of GICv{architecture}, booted {booted}" for architecture, mnemonic, booted, _ in FORGOTTEN],
)
def test_what_a_driver_never_sends_is_named(architecture: str, mnemonic: str, booted: bool, owed: str) -> None:
    driver = forgets(mnemonic, booted)
    with pytest.raises(MissingCommand, match=owed):
        run_state_machine_as_test(machine(driver, architecture=architecture, direct_lpi=False), settings=SEARCH)


class SyncsUnmapped(VirtualPes):
    """VSYNC after VMAPP V=0, as GICv4.0 needs it and GICv4.1 must not have it (Linux before 80e9963fb3b5)."""

    def deactivate(self, *vpes: ItsVpe) -> None:
        super().deactivate(*vpes)
        self.gic.v4_its[0].send(*(commands.vsync(vpe.vpe_id) for vpe in vpes))


class SyncsAnUnmappedVpe(GicDriver):
    vpes_class = SyncsUnmapped


def test_a_command_too_many_stalls_the_queue() -> None:
    with pytest.raises(DriverError, match=r"EIO: ITS 0 stalled at 0x\w+ on VSYNC vPEID=0x\d"):
        run_state_machine_as_test(machine(SyncsAnUnmappedVpe, architecture="4.1", its=1), settings=SEARCH)
