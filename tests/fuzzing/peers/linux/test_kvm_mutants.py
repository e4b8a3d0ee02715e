# SPDX-License-Identifier: Apache-2.0
"""Bugs planted in `gicmodel.kvm` are found by a campaign against Linux' own code."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import pytest

from gicmodel.fuzzing.finding import Plan
from gicmodel.fuzzing.peers.linux.kvm.peer import LinuxKvm
from gicmodel.kvm import (
    KvmBehaviour,
    commands,
    forwarding,
    interrupts,
    lpi,
    pending_tables,
    redistributor,
    restore_tables,
    save_tables,
    translation_cache,
    vlpi,
)
from tests.fuzzing.peers.linux.programs import Bug, finds_something, nothing

WITHIN = 8000


def invall_of_all(original: Callable[..., Any], dist: Any, vcpu: int) -> None:
    for each in range(dist.nr_vcpus):
        original(dist, each)


def pending_bit_stays(original: Callable[..., Any], dist: Any, vcpu: int, intid: int) -> bool:
    before = dist.memory.octets.copy()
    pending = original(dist, vcpu, intid)
    dist.memory.octets[:] = before
    return bool(pending)


def mapc_moves_nothing(original: Callable[..., Any], vits: Any, operands: dict[str, int]) -> None:
    with patch.object(commands, "update_affinity"):
        original(vits, operands)


def mapti_replaces(original: Callable[..., Any], vits: Any, operands: dict[str, int]) -> None:
    device = vits.devices.get(operands["DeviceID"])
    if device is not None and (ite := device.ites.get(operands["EventID"])):
        vits.free_ite(device, ite)
    original(vits, operands)


def mapd_keeps_events(original: Callable[..., Any], vits: Any, operands: dict[str, int]) -> None:
    old = vits.devices.get(operands["DeviceID"])
    original(vits, operands)
    new = vits.devices.get(operands["DeviceID"])
    if old is not None and new is not None and new is not old:
        new.ites = old.ites


def next_is_one(original: Callable[..., Any], *arguments: Any) -> Any:
    return np.minimum(original(*arguments), 1)


def saturated_next(original: Callable[..., Any], vits: Any, device: Any, event_id: int, entry: dict[str, int]) -> None:
    original(vits, device, event_id, entry | {"next": 0})


def latch_instead_of_int(original: Callable[..., Any], dist: Any, slot: int) -> None:
    interrupts.set_latch(dist, slot)


BUGS = {
    "MAPC leaves its LPIs where they are": Bug(commands, "mapc", mapc_moves_nothing),
    "translations are never forgotten": Bug(translation_cache.TranslationCache, "invalidate", nothing),
    "INVALL reads the configuration of every vCPU's LPIs": Bug(commands, "update_configurations", invall_of_all),
    "a pending bit that is consumed stays in RAM": Bug(interrupts, "take_pending_bit", pending_bit_stays),
    "MAPTI replaces a mapped event": Bug(commands, "mapti", mapti_replaces),
    "MAPD leaves the events of a device that it maps anew": Bug(commands, "mapd", mapd_keeps_events),
    "next is never more than 1": Bug(save_tables, "_distances", next_is_one),
    "a next that leads out of its ITT is restored": Bug(restore_tables, "_restore_ite", saturated_next),
    "an LPI comes onto no ap_list when it is mapped": Bug(interrupts, "queue", nothing),
    "EnableLPIs 1 to 0 leaves pending what is": Bug(redistributor, "flush_pending_lpis", nothing),
    "an ap_list holds no reference": Bug(lpi.Lpis, "hold", nothing),
    "MOVI of a forwarded LPI does not move the vLPI": Bug(vlpi.Vlpis, "move", nothing, "4.1"),
    "INT of a forwarded LPI stays in software": Bug(commands, "set_pending", latch_instead_of_int, "4.1"),
    "what is pending when forwarding begins is lost": Bug(forwarding.Forwarding, "_hand_over", nothing, "4.1"),
    "DISCARD leaves the vLPI mapped": Bug(vlpi.Vlpis, "unmap", nothing, "4.1"),
    "a save believes the latch of a forwarded LPI": Bug(
        pending_tables, "write_pending_tables", lambda original, dist, _, each: original(dist, None, each), "4.1"
    ),
}


class Short(LinuxKvm):
    """Chunks that are soon over."""

    chunk: ClassVar[int] = 500


def plant(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the function is, under its name or in the table of commands."""
    original = getattr(bug.place, bug.name)

    def broken(*arguments: Any, **named: Any) -> Any:
        return bug.broken(original, *arguments, **named)

    monkeypatch.setattr(bug.place, bug.name, broken)
    for mnemonic, handler in commands._HANDLERS.items():
        if handler is original:
            monkeypatch.setitem(commands._HANDLERS, mnemonic, broken)


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_campaign_finds_it(bug: Bug, peer: LinuxKvm, linux_source: Any, monkeypatch: pytest.MonkeyPatch):
    short, plan = Short(linux_source), Plan(seed=1, commands=WITHIN, architecture=bug.architecture)
    plant(bug, monkeypatch)
    assert finds_something(short, plan)


SEEN = {
    "restores_unmapped_collections": "3",
    "frees_collections_of_failed_restore": "3",
    "clears_unmapped_entries": "3",
    "caches_translations": "3",
    "walks_every_lpi": "3",
    "movall_filters_source": "3",
    "saves_forwarded_lpis": "4.1",
    "moves_pending_state": "4.1",
    "cached_msis_stay_in_software": "4.1",
    "unsets_by_host_irq": "4.1",
    "freed_ite_ends_hw": "4.1",
    "next_skips_zero_entries": "3",
    "skips_unreachable_devices": "3",
    "sizes_before_init": "4.1",
    "ispendr_reaches_vsgis": "4.1",
    "route_change_unforwards": "4.1",
}
"""Fields of `KvmBehaviour`, and a host on which a campaign sees the wrong value."""


@pytest.mark.parametrize("field", SEEN)
def test_a_wrong_value_of_the_behaviour_is_seen(field: str, linux_source: Any):
    class Wrong(Short):
        @property
        def behaviour(self) -> KvmBehaviour:
            right = super().behaviour
            return replace(right, **{field: not getattr(right, field)})

    wrong, plan = Wrong(linux_source), Plan(seed=2, commands=2 * WITHIN, architecture=SEEN[field])
    assert finds_something(wrong, plan)
