# SPDX-License-Identifier: Apache-2.0
"""`gicmodel.driver` writes what Linux' driver writes, operation by operation, and a port that does not is found."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from gicmodel.config import ARCHITECTURES
from gicmodel.driver import doorbells, lpis, redistributor, vlpis, vpes, vsgis
from gicmodel.fuzzing.finding import Plan
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.fuzzing.peers.linux.driver.port import MEANT, LinuxPort
from gicmodel.jit import COMPILED
from tests.fuzzing.peers.linux.programs import Bug, finds_something, nothing, outcomes_of

DRAWN = 12_000 if COMPILED else 4000
WITHIN = 4000
VIRTUAL = {"begin_vm", "end_vm", "forward", "unforward", "configure", "load", "put", "take", "invall"}
VSGIS = {"save", "begin_vsgi", "end_vsgi", "set_vsgi", "enable_vsgi", "set_vsgi_pending", "vsgi_pending"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_operation_of_the_port_writes_what_linux_writes(architecture: str, port_peer: LinuxPort):
    outcomes = outcomes_of(port_peer, Plan(seed=4, commands=DRAWN, architecture=architecture))
    virtual = {"3": set(), "4.0": VIRTUAL, "4.1": VIRTUAL | VSGIS}[architecture]
    assert {verb for verb, _ in outcomes} == set(HostMachine.events) - MEANT.keys() - ((VIRTUAL | VSGIS) - virtual)


def to_cpu_0(original: Callable[..., Any], self: Any, device: Any, events: Any, cpu: int) -> None:
    original(self, device, events, 0)


def with_doorbell(original: Callable[..., Any], self: Any, vpe: Any, doorbell: bool) -> None:
    original(self, vpe, True)


def same_group(original: Callable[..., Any], self: Any, vpe: Any, sgi: Any, enable: Any, *rest: Any) -> None:
    original(self, vpe, sgi, enable, 1, *rest[1:])


BUGS = {
    "an LPI never moves": Bug(lpis.PhysicalLpis, "set_affinity", to_cpu_0, "3"),
    "an LPI is masked in memory alone": Bug(redistributor.Redistributor, "invalidate_lpi", nothing, "4.0"),
    "a doorbell of GICv4.0 is not taken back": Bug(doorbells.Doorbells, "clear", nothing, "4.0"),
    "every vPE that stops wants its doorbell": Bug(redistributor.Redistributor, "deschedule", with_doorbell, "4.1"),
    "a vLPI's configuration is not read anew": Bug(vlpis.VirtualLpis, "_reload", nothing, "4.1"),
    "GICv4.0's doorbells stay when a vLPI is disabled": Bug(vlpis.VirtualLpis, "_set_doorbell", nothing, "4.0"),
    "INVALL of a vPE is forgotten": Bug(vpes.VirtualPes, "invall", nothing, "4.1"),
    "every vSGI is of Group 1": Bug(vsgis.VirtualSgis, "configure", same_group, "4.1"),
    "a vSGI that ends stays as it is": Bug(vsgis.VirtualSgis, "deactivate", nothing, "4.1"),
    "no vPE moves": Bug(vpes.VirtualPes, "_vmovp", nothing, "4.1"),
}


class Short(LinuxPort):
    """Chunks that are soon over."""

    chunk: ClassVar[int] = 500


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_bug_of_the_port_is_found(bug: Bug, port_peer: LinuxPort, monkeypatch: pytest.MonkeyPatch):
    original = getattr(bug.place, bug.name)
    monkeypatch.setattr(bug.place, bug.name, lambda *arguments, **named: bug.broken(original, *arguments, **named))
    short, plan = Short(port_peer.source.where), Plan(seed=1, commands=WITHIN, architecture=bug.architecture)
    assert finds_something(short, plan)
