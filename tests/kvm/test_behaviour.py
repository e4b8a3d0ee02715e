# SPDX-License-Identifier: Apache-2.0
"""Linux releases by name. What each switch does is in tests/regressions."""

from dataclasses import fields

import pytest

from gicmodel.kvm import NEWEST, KvmBehaviour


def missing(release):
    """The fixes that a release does not have."""
    return {switch.name for switch in fields(KvmBehaviour) if not getattr(KvmBehaviour.release(release), switch.name)}


def test_the_newest_has_every_fix():
    assert KvmBehaviour.release("7.3") == NEWEST == KvmBehaviour()
    assert missing("7.3") == set()


def test_the_release_of_the_vlpi_migration_series():
    before, after = missing("5.12"), missing("5.13")
    assert before - after == {"saves_forwarded_lpis", "moves_pending_state", "drops_ptz"}
    assert after < before


def test_the_first_release_has_only_what_was_broken_later():
    everything = {switch.name for switch in fields(KvmBehaviour)}
    assert missing("4.12") == everything - {"movall_filters_source"}


@pytest.mark.parametrize(("release", "right"), [("6.9", True), ("6.10", False), ("7.2", False), ("7.3", True)])
def test_movall_was_right_before_and_after(release, right):
    assert KvmBehaviour.release(release).movall_filters_source == right


def test_minor_numbers_are_numbers():
    assert "clears_unmapped_entries" in missing("6.2")
    assert "clears_unmapped_entries" not in missing("6.13")


@pytest.mark.parametrize("release", ["", "6", "6.x", "6.13.1", "v6.13", "4.11", "-1.0"])
def test_what_is_no_release(release):
    with pytest.raises(ValueError, match=r"Linux"):
        KvmBehaviour.release(release)
