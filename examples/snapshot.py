# SPDX-License-Identifier: Apache-2.0
"""The hardware whole, in a file: saved, read again, and inspected like any dump."""

import tempfile
from pathlib import Path

from gicmodel.config import GicConfig
from gicmodel.hardware.snapshot import load_snapshot, save_snapshot
from gicmodel.inspection import inspect, open_source
from gicmodel.migration import Host, new_virtual_machine

host = Host("host", GicConfig(redistributors=2, caching="retain"))
vm = new_virtual_machine(host, vcpus=2, devices=1, vectors=8)
vm.devices[0].fire([2, 3])

with tempfile.TemporaryDirectory() as directory:
    path = Path(directory) / "gic.snapshot"
    save_snapshot(host.gic, path)
    again = load_snapshot(path)
    print("equal:", all((a == b).all() for a, b in zip(host.gic.machine, again.machine, strict=True)))
    source = open_source(path)
    found = inspect(source.dump, source.registers)
    print("events:", len(found.events), "vPEs:", len(found.vpes))
