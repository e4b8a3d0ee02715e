# SPDX-License-Identifier: Apache-2.0
"""A trace of a real GICv4.0 host, fed to the model: what the machine left in RAM, compared byte for byte."""

from pathlib import Path

from gicmodel.images.sources import read_dump
from gicmodel.replay import replay

CAPTURE = Path(__file__).parents[1] / "tables/linux-6.12-kvm-2vcpu"
outcome = replay(CAPTURE / "host-vm-stopped.trace.xz", read_dump(CAPTURE / "host-vm-stopped.elf.xz"))
print(f"{outcome.events} events, {outcome.commands} commands, {outcome.msis} messages: {outcome.verdict}")
for name, comparison in outcome.compared.items():
    print(f"{name}: {comparison.different} of {comparison.bytes} bytes differ")
