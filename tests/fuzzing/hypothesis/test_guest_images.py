# SPDX-License-Identifier: Apache-2.0
"""Drawn guest images: one that is whole is resumed with exactly what it holds, one that is damaged is refused."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.hypothesis.strategies import GuestImage, guest_images
from gicmodel.jit import COMPILED
from gicmodel.migration import Host, Resume, config_for
from gicmodel.migration.machine import pending_vlpis
from gicmodel.migration.migrate import FLUSH_PATH
from gicmodel.migration.saved_guest import SavedGuest
from gicmodel.migration.trial import vm_targets

EXAMPLES = settings(max_examples=60 if COMPILED else 20, deadline=None, suppress_health_check=list(HealthCheck))
FIND = settings(EXAMPLES, max_examples=200, phases=[Phase.generate], database=None)


def saved(image: GuestImage) -> SavedGuest:
    """The guest as a tool is given it."""
    return SavedGuest(Path("drawn"), image.segments(), image.registers())


def resume(guest: SavedGuest) -> Resume:
    """The guest on a host of two CPUs, with all its events forwarded."""
    resumed = Resume(guest, Host("destination", config_for(GicConfig(redistributors=2), guest.lpis)))
    for step in resumed.plan[: -len(FLUSH_PATH)]:
        resumed.take(step)
    return resumed


@EXAMPLES
@given(guest_images())
def test_a_guest_has_what_was_drawn(image: GuestImage) -> None:
    guest = saved(image)
    assert guest.pending() == image.waiting()
    resumed = resume(guest)
    vm = resumed.target
    assert {target for target in vm_targets(vm) if target[0] >= 0} == image.targets()
    assert pending_vlpis(vm) == image.waiting()
    for step in FLUSH_PATH:
        resumed.take(step)
    assert guest.pending() == image.waiting()


def refusal(image: GuestImage) -> str | None:
    """Why an image cannot be resumed; None if it can."""
    try:
        resume(saved(image))
    except UnusableInput as error:
        return str(error)
    return None


@EXAMPLES
@given(guest_images(damaged=True))
def test_a_damaged_guest_is_resumed_or_refused(image: GuestImage) -> None:
    reason = refusal(image)
    assert reason is None or (reason.startswith("drawn: ") and "\n" not in reason)


def test_damage_is_refused_now_and_then() -> None:
    find(guest_images(damaged=True), refusal, settings=FIND)


@pytest.mark.parametrize("kind", ["pending", "unmapped collection", "two devices"])
def test_images_of_each_kind_are_drawn(kind: str) -> None:
    wanted = {
        "pending": lambda image: len(image.waiting()) > 1,
        "unmapped collection": lambda image: None in image.collections.values() and image.devices,
        "two devices": lambda image: sum(map(bool, image.devices.values())) > 1,
    }
    find(guest_images(), wanted[kind], settings=FIND)
