# SPDX-License-Identifier: Apache-2.0
"""QEMU's traces of a GICv3 or GICv4.0: their lines as typed events, and the registers that they tell."""

from gicmodel.images.qemu_trace.events import event_line, read_trace
from gicmodel.images.qemu_trace.processors import Processors
from gicmodel.images.qemu_trace.registers import registers_of_trace

__all__ = ["Processors", "event_line", "read_trace", "registers_of_trace"]
