# SPDX-License-Identifier: Apache-2.0
"""A dump's tables as NumPy arrays: what is pending, and which device it came from."""

from pathlib import Path

import numpy as np

from gicmodel.inspection import inspect, open_source

image = Path(__file__).parents[1] / "tables/linux-6.12-kvm-2vcpu/host-vm-stopped.elf.xz"
source = open_source(image)
found = inspect(source.dump, source.registers)

events = found.events
print(f"{len(events)} events, columns {', '.join(events.dtype.names[:6])}, ...")
pending = events[events["pending"] == 1]
for device, number, intid in zip(pending["DeviceID"], pending["EventID"], pending["INTID"], strict=True):
    print(f"pending: device {device:#x}, event {number}, INTID {intid}")
devices, counts = np.unique(events["DeviceID"], return_counts=True)
print("events a device:", dict(zip(map(hex, devices.tolist()), counts.tolist(), strict=True)))
