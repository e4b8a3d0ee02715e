# SPDX-License-Identifier: Apache-2.0
"""The bugs of Linux and of monitors in saving, restoring and forwarding: where each is tested, or why it is not.

A test runs with the fix and without it, and tells them apart: by a field of `KvmBehaviour`, or by a copy of the code
with the mistake in it.
"""

from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from gicmodel.kvm import KvmBehaviour

TESTED = {
    "ca185b260951": "vpes.test_two_vcpus_in_one_byte",
    "8c58be34494b": "tables.test_an_unmapped_collection_is_restored",
    "Properly check the unmapped coll in DISCARD handler": "tables.test_discard_of_an_unmapped_collection",
    "c000a2607145": "tables.test_a_next_out_of_the_level_2_page",
    "cafe7e544d49": "tables.test_an_event_that_cannot_be_saved_is_not_mapped",
    "243b1f6c8f07": "tables.test_an_entry_that_could_not_be_saved_again_is_not_restored",
    "a1ccfd6f6e06": "tables.test_a_bad_cte_in_the_middle",
    "8c5e74c90bb5": "tables.test_a_failed_restore_can_be_repeated",
    "e9649129d33d": "tables.test_an_unmapped_device_stays_away",
    "7602ffd1d5e8": "tables.test_a_discarded_event_stays_away",
    "9ce754ed8e7a": "tables.test_a_dte_of_more_event_bits_than_the_its_has",
    "c6c156d931c3": "tables.test_an_event_that_has_lost_its_collection",
    "cc5d96036e01": "tables.test_a_device_whose_level_1_entry_is_gone",
    "8cd92f77ae4f": "tables.test_more_collections_than_the_table_has_room_for",
    "2f8b1ad2228a": "tables.test_what_restore_takes_out_of_ram_is_dirty",
    "751f4641560b": "tables.test_movall_leaves_the_other_vcpus_alone",
    "vgic_add_lpi": "tables.test_an_lpi_whose_pending_byte_cannot_be_read_leaves_no_reference",
    "7b95382f9658": "vsgis.test_a_reset_by_the_monitor_clears_vsgis",
    "82221a4e66f0": "vsgis.test_nassgireq_on_a_host_whose_cpu_interfaces_have_no_vsgis",
    "8082d50f4817": "vpes.test_a_forwarded_lpi_can_be_saved",
    "f66b7b151e00": "vpes.test_the_state_of_a_forwarded_lpi_is_saved",
    "c21bc068cdbe": "vpes.test_a_vpt_that_is_mapped_again_is_not_empty",
    "80e9963fb3b5": "vpes.test_no_vsync_of_an_unmapped_vpe",
    "1442ee001198": "vpes.test_no_vmovp_of_an_unmapped_vpe",
    "set_affinity on lazily-mapped VPEs": "vpes.test_a_vpe_that_is_mapped_on_demand_may_move_before",
    "7d2c2048a864": "vpes.test_a_vpe_is_where_it_was_mapped",
    "af27e41612ec": "vpes.test_a_vpe_leaves_only_when_its_table_is_parsed",
    "12df7429213a": "forwarding.test_pending_state_goes_to_the_vpt",
    "set, unset, set loses what was pending": "forwarding.test_pending_state_when_forwarding_ends",
    "A review of the series' second version": "forwarding.test_pending_state_is_not_in_two_places",
    "Linux clears the latch whether INT worked or not": (
        "forwarding.test_a_transfer_that_fails_is_reported_and_not_repeated"
    ),
    "05b9405f2fa1": "forwarding.test_forwarding_ends_without_a_translation",
    "4bf3693d36af": "forwarding.test_a_changed_route_ends_forwarding",
    "5c57533eb8c1": "forwarding.test_an_event_without_an_lpi_is_left_to_software",
    "d329f5032e17": "monitors.test_vfio_loads_its_configuration_after_the_gic",
    "8ce1ff990eff": "monitors.test_vfio_stops_devices_before_the_gic_is_flushed",
    "ecebe53fe993": "monitors.test_vectors_are_enabled_all_at_once",
    "cloud-hypervisor PR 3049": "monitors.test_its_tables_are_flushed_before_a_snapshot",
    "e2b infra 2057": "monitors.test_pages_that_kvm_has_written_are_part_of_the_difference",
    "KVM_DEV_ARM_ITS_CTRL_RESET": "monitors.test_a_guest_that_reboots_gets_its_its_reset",
}
"""By the commit, or by what the test's docstring calls a bug without one."""

CANNOT_BE_EXPRESSED = {
    "SAVE_PENDING_TABLES takes a reference on each LPI (2026)": "another thread unmaps it; the model has one",
    "85a71ee9a070": "MOVALL meets an LPI that another ITS unmaps at that moment; the model has one thread",
    "its_sync_lpi_pending_table, its_sync of an unmapped LPI (6.8)": "as 85a71ee9a070",
    "ad362fe07fec": "use after free in the translation cache, by another thread; the model has one",
    "13031fb6b835": "a reference of the translation cache is dropped twice by two threads",
    "2cdea19a34c2": "userspace reads the physical state of a timer's interrupt; the model has no PPIs",
    "Retire all pending LPIs on vcpu destroy": "a leak of a VM that has ended, which nobody can see",
    "301beaf19739": "stale lines in the CPU's data cache; the model's CPU has none",
    "ef3691683d7b": "a doorbell rings in another thread while it is requested",
    "f0eb154c3947": "lock inversion; the model has one thread",
    "a84a07fa3100": "a lock that was not held; the model has one thread",
    "Fix ordering between vmapp and vpe locks": "lock inversion; the model has one thread",
    "b321c31c9b7b": "preemption in the middle of WFI; a vCPU of the model is loaded and put as a whole",
    "HiSilicon erratum 162100801": "hardware that does not keep to the architecture",
    "46135d6f878a": "vSGIs do not reach a CPU interface older than its GIC; the model's hardware is of one version",
    "a0d7e2fc61ab": "routes that are no MSIs; the model's eventfds have no others",
    "d0b79563fd60": "a warning only",
    "d766d87cf4a0": "documentation only",
    "Don't clobber irqfd routing type when deassigning irqfd": "an irqfd's own data; the model has no irqfds",
    "Set/unset vGIC v4 forwarding if direct IRQs are supported": "GICv4 cannot be switched off for one VM",
    "046b5054f566": "a map of vLPIs is freed while another thread translates an INV",
    "Enable RESEND_WHEN_IN_PROGRESS for LPIs": "the host's flow handler, while another CPU runs it",
    "CubeSandbox PR 1658": "a buffer of 32 bits for CPU_SYSREGS, which have no bearing on interrupts here",
}


def sources():
    return [path.read_text() for path in Path(__file__).parent.glob("test_kvm_*.py") if path != Path(__file__)]


@pytest.mark.parametrize("bug", TESTED)
def test_a_bug_has_a_test_that_names_it(bug):
    module, test = TESTED[bug].split(".")
    tested = getattr(import_module(f"tests.regressions.test_kvm_{module}"), test)
    assert bug in tested.__doc__


def test_no_bug_is_both_tested_and_not():
    assert not TESTED.keys() & CANNOT_BE_EXPRESSED.keys()


@pytest.mark.parametrize("field", [field.name for field in fields(KvmBehaviour)])
def test_every_fix_that_can_be_taken_out_is(field):
    assert any(f'"{field}"' in text for text in sources())
