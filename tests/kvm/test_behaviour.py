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
    assert after - before == {"asks_cpu_interface_for_vsgis"}


def test_the_first_release_has_only_what_was_broken_later():
    everything = {switch.name for switch in fields(KvmBehaviour)}
    later = {"movall_filters_source", "asks_cpu_interface_for_vsgis", "caches_per_its"}
    assert missing("4.12") == everything - later


@pytest.mark.parametrize(("release", "right"), [("6.9", True), ("6.10", False), ("7.2", False), ("7.3", True)])
def test_movall_was_right_before_and_after(release, right):
    assert KvmBehaviour.release(release).movall_filters_source == right


@pytest.mark.parametrize(
    ("older", "newer", "backported"),
    [
        ("6.1", "6.1.74", set()),
        ("6.1.74", "6.1.75", {"ispendr_reaches_vsgis"}),
        ("6.1.119", "6.1.120", {"clears_unmapped_entries"}),
        ("6.1.174", "6.1.175", {"checks_restored_event_bits"}),
        ("6.1.176", "6.1.190", set()),
        ("6.1.190", "6.1.191", {"saves_events_without_collection"}),
        ("6.12", "6.12.2", set()),
        ("6.12.2", "6.12.3", {"clears_unmapped_entries"}),
        ("6.12.91", "6.12.92", {"checks_restored_event_bits"}),
        ("6.12.111", "6.12.112", {"baser_change_frees", "skips_unreachable_devices"}),
        ("6.12.112", "6.12.113", {"saves_events_without_collection", "movall_filters_source"}),
        ("7.2", "7.2.5", set()),
        ("7.2.5", "7.2.6", {"saves_events_without_collection"}),
        ("7.2.8", "7.2.9", {"baser_change_frees", "skips_unreachable_devices"}),
        ("7.2.9", "7.2.10", {"movall_filters_source"}),
    ],
)
def test_stable_releases_have_backports(older, newer, backported):
    assert missing(older) - missing(newer) == backported
    assert missing(newer) <= missing(older)


def test_the_newest_stable_releases_seen():
    """Their sources were read: Debian's linux-source-6.1, -6.12 and -7.2."""
    assert missing("7.2.13") == {"next_skips_zero_entries"}
    assert "clears_unmapped_entries" not in missing("6.1.176")
    assert missing("6.12.117") == {
        *("next_skips_zero_entries", "forwarding_falls_back", "unsets_by_host_irq", "route_change_unforwards"),
        *("asks_cpu_interface_for_vsgis", "sizes_before_init", "freed_ite_ends_hw"),
    }
    assert missing("6.1.192") == missing("6.12.117") | {
        *("baser_change_frees", "skips_unreachable_devices", "walks_every_lpi"),
        *("caches_per_its", "mapc_checks_target_last", "leaves_forwarded"),
    }


def test_a_stable_series_whose_backports_are_not_known():
    with pytest.raises(ValueError, match=r"which fixes Linux 6\.6\.87 has is not known.*6\.1\.y, 6\.12\.y, 7\.2\.y"):
        KvmBehaviour.release("6.6.87")


def test_minor_numbers_are_numbers():
    assert "clears_unmapped_entries" in missing("6.2")
    assert "clears_unmapped_entries" not in missing("6.13")


@pytest.mark.parametrize(
    "release", ["", "6", "6.x", "6.13.1", "6.1.x", "6.1.1.1", "v6.13", "4.11", "4.11.9", "-1.0", "\u0666.1"]
)
def test_what_is_no_release(release):
    with pytest.raises(ValueError, match=r"Linux"):
        KvmBehaviour.release(release)
