# SPDX-License-Identifier: Apache-2.0
"""QEMU as the model's peer: the connection to it, and whatever software does."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from gicmodel.config import GicConfig
from gicmodel.fuzzing.hypothesis.qemu_machine import QemuMachine, QemuMachineV4
from gicmodel.fuzzing.peers.qemu.process import (
    BINARY,
    ITS_BASE,
    RAM_BASE,
    RAM_BYTES,
    QemuDied,
    QemuMissing,
    QemuProcess,
)
from gicmodel.hardware import Gic
from gicmodel.jit import COMPILED
from gicmodel.layouts.registers.by_name import REGISTERS, register
from gicmodel.layouts.registers.distributor import GICD_TYPER
from gicmodel.memory import GuestMemory

pytestmark = pytest.mark.qemu
needs_qemu = pytest.mark.needs(BINARY)

GICD_BASE = 0x0800_0000
CONSTANTS = [
    *("GITS_IIDR", "GITS_TYPER", "GICR_IIDR", "GICR_TYPER", "GICR_CTLR", "GICR_WAKER"),
    *(entry.name for entry in REGISTERS if re.search(r"_[PC]IDR\d$", entry.name)),
]


def is_running(pid):
    return Path(f"/proc/{pid}").exists()


@needs_qemu
def test_ram_is_shared():
    with QemuProcess() as peer:
        peer.memory.octets(RAM_BASE + 0x1000, 8)[:] = range(1, 9)
        assert peer.read(RAM_BASE + 0x1000) == 0x0807_0605_0403_0201
        peer.write(RAM_BASE + RAM_BYTES - 4, 0x1234_5678, 4)
        assert peer.memory.read(RAM_BASE + RAM_BYTES - 4, 4) == b"\x78\x56\x34\x12"


@needs_qemu
def test_registers_of_each_size():
    with QemuProcess() as peer:
        cbaser = ITS_BASE + 0x80
        peer.write(cbaser, 0x8000_0000_4010_0003)
        assert peer.read(cbaser) == 0x8000_0000_4010_0003
        peer.write(cbaser + 4, 0x8000_0001, 4)
        assert (peer.read(cbaser, 4), peer.read(cbaser + 4, 4)) == (0x4010_0003, 0x8000_0001)


@needs_qemu
def test_the_process_and_its_files_end_with_the_block():
    with QemuProcess() as peer:
        assert is_running(peer.pid)
    assert not is_running(peer.pid)
    peer.close()


@needs_qemu
def test_the_process_and_its_files_end_with_a_killed_parent():
    program = (
        "import os\nfrom gicmodel.fuzzing.peers.qemu.process import QemuProcess\n"
        "peer = QemuProcess()\nprint(peer.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    with tempfile.TemporaryDirectory() as left_behind:
        environment = os.environ | {"TMPDIR": left_behind}
        pid = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment).stdout
        deadline = time.monotonic() + 10
        while is_running(int(pid)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_running(int(pid))
        assert list(Path(left_behind).iterdir()) == []


@needs_qemu
def test_ctrl_c_does_not_reach_the_emulator():
    with QemuProcess() as peer:
        assert os.getsid(peer.pid) != os.getsid(0)


@needs_qemu
def test_an_emulator_that_died_says_so():
    with QemuProcess() as peer:
        os.kill(peer.pid, signal.SIGKILL)
        with pytest.raises(QemuDied, match="readq"):
            peer.read(ITS_BASE)


@needs_qemu
def test_a_machine_that_qemu_refuses_is_missing_with_its_reason():
    with pytest.raises(QemuMissing, match="Invalid SMP CPUs 4000"):
        QemuProcess(4, 4000)


def test_without_qemu_the_reason_is_that_it_is_not_installed(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(QemuMissing, match="is not installed"):
        QemuProcess()


@needs_qemu
@pytest.mark.parametrize("architecture", ["3", "4.0"])
def test_the_model_identifies_itself_as_qemu_does(architecture):
    gic = Gic(GicConfig.qemu(architecture, redistributors=18), GuestMemory(RAM_BASE, 1 << 20))
    seen = {}
    with QemuProcess(int(architecture[0]), 18) as peer:
        for name in CONSTANTS:
            entry = register(name, architecture)
            size = entry.bits // 8
            if name.startswith("GITS"):
                seen[name] = gic.its[0].read(entry.offset, size), peer.read(ITS_BASE + entry.offset, size)
                continue
            for number, redistributor in enumerate(gic.redistributors):
                qemu = peer.read(gic.config.redistributor_frames(number) + entry.offset, size)
                seen[f"{name} of {number}"] = redistributor.read(entry.offset, size), qemu
        sizes = GICD_TYPER.pack(IDbits=31, DVIS=1, LPIS=1, num_LPIs=31)
        typer = register("GICD_TYPER").offset
        seen["GICD_TYPER"] = gic.distributor.read(typer, 4) & sizes, peer.read(GICD_BASE + typer, 4) & sizes
    assert {name: model for name, (model, _) in seen.items()} == {name: qemu for name, (_, qemu) in seen.items()}


@needs_qemu
@pytest.mark.parametrize("machine", [QemuMachine, QemuMachineV4])
def test_whatever_software_does_qemu_and_the_model_agree(machine):
    examples, steps = (40, 25) if COMPILED else (8, 12)
    checks = list(HealthCheck)
    size = settings(max_examples=examples, stateful_step_count=steps, suppress_health_check=checks)
    run_state_machine_as_test(machine, settings=size)
