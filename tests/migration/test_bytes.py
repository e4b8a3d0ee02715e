# SPDX-License-Identifier: Apache-2.0
"""Every table before and after each command of the save path and the resume path, byte for byte.

`bytes.txt` beside this file is the workflow of the cover letter as it looks in RAM, for a VM of two vCPUs with one
device of two vectors, both pending. Every byte of both hosts' and both guests' RAM is compared around every command.
"""

from functools import partial
from pathlib import Path

import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware import Gic
from gicmodel.migration import Host, Migration, Policy, new_virtual_machine
from gicmodel.migration.migrate import plan_of
from tests.migration.recorder import Recorder, Watched, guest_tables, host_tables

CONFIG = GicConfig(redistributors=2, commands_per_step=1, device_id_bits=8, vpe_id_bits=8)
CREATE, DELIVER = "create the VM on the destination", "deliver"


def golden():
    """The lines of bytes.txt by section, without comments."""
    sections = {}
    for line in Path(__file__).with_name("bytes.txt").read_text().splitlines():
        if line.startswith("== "):
            lines = sections.setdefault(line.removeprefix("== "), [])
        elif line and not line.startswith("#"):
            lines.append(line)
    return sections


GOLDEN = golden()


@pytest.fixture(scope="module")
def recorded():
    recorder, step = Recorder(), Gic.step
    with pytest.MonkeyPatch.context() as patch:
        # The driver lets time pass between two reads of GITS_CREADR; here that is one command.
        patch.setattr(Gic, "step", lambda gic: recorder.step(gic, step))
        source, destination = Host("source", CONFIG), Host("destination", CONFIG)
        vm = new_virtual_machine(source, vcpus=2, devices=1, vectors=2)
        vm.run_vcpus()
        vm.devices[0].fire([0, 1])
        recorder.watch(Watched("", source.memory, partial(host_tables, source)))
        recorder.watch(Watched("", vm.memory, partial(guest_tables, vm)))
        recorder.watch(Watched("destination ", destination.memory, partial(host_tables, destination)))
        recorder.progress(CREATE, 0, 1)
        migration = Migration(vm, destination, recorder.progress)
        recorder.software()
        recorder.watch(Watched("destination ", migration.target.memory, partial(guest_tables, vm)))
        migration.run()
        recorder.progress(DELIVER, 0, 1)
        assert list(migration.target.deliver()) == [(0, 8192), (1, 8193)]
        recorder.software()
    return recorder.steps


def test_the_golden_text_covers_every_step(recorded):
    assert list(GOLDEN) == list(recorded) == [CREATE, *(name for name, _ in plan_of(Policy.AVOID_UNSET)), DELIVER]


@pytest.mark.parametrize("step", GOLDEN)
def test_every_change_of_every_command(recorded, step):
    assert recorded[step] == GOLDEN[step]
