# SPDX-License-Identifier: Apache-2.0
"""Whole VMs (`gicmodel.fuzzing.hypothesis.migration_machine`): nothing is lost or invented; mistakes are noticed."""

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gicmodel.driver.vpes import VirtualPes
from gicmodel.fuzzing.hypothesis.migration_machine import WholeVm
from gicmodel.kvm.forwarding import Forwarding
from gicmodel.kvm.sgi import Sgis
from gicmodel.migration import VirtualMachine

TestWholeVm = WholeVm.TestCase
TestWholeVm.settings = settings(max_examples=max(1, settings.default.max_examples // 5), stateful_step_count=20)


activate = VirtualPes.activate


def keep_flushed_tables(vm):
    vm._before_flush.clear()


def forget_pending_sgis(self, vcpu, number, pending, reaches_gic):
    """As a monitor that does not know GICR_ISPENDR0."""


def drop_what_is_pending(self, slots):
    """As `unset_forwarding` of all Linux releases."""


def claim_that_the_vpt_is_zero(self, *vpes, ptz=False):
    """As Linux did before c21bc068cdbe."""
    activate(self, *vpes, ptz=True)


@pytest.mark.parametrize(
    ("owner", "name", "mistake"),
    [
        (VirtualPes, "activate", claim_that_the_vpt_is_zero),
        (VirtualMachine, "_undo_flush", keep_flushed_tables),
        (Sgis, "restore_pending", forget_pending_sgis),
        (Forwarding, "_retrieve", drop_what_is_pending),
    ],
)
def test_it_notices(monkeypatch, owner, name, mistake):
    monkeypatch.setattr(owner, name, mistake)
    few = settings(max_examples=300, stateful_step_count=20, phases=[Phase.generate], derandomize=True, database=None)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(WholeVm, settings=few)
