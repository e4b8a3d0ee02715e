# SPDX-License-Identifier: Apache-2.0
"""The dumps of tables/linux-virt-dumps, and what drgn said of them."""

import re
import struct
from functools import cache

import numpy as np

from gicmodel.images.segments import Segment
from gicmodel.images.sources import read_dump
from gicmodel.inspection import Dump
from tests.inspection.museum import TABLES

DUMPS = TABLES / "linux-virt-dumps"
NAMES = ("v3run", "v3crash", "v4run", "v612run", "scrambled")
WITH_BTF = ("v3crash", "v4run", "v612run", "scrambled")

_DEVICE = re.compile(r"ITS 0 DeviceID (0x\w+): ITT (0x\w+), (\d+) events")
_EVENT = re.compile(r"  event +(\d+) LPI (\d+) cpu (\d+) config (0x\w+) irq (\d+) (\S+)")
_VLPI = re.compile(r" -> vINTID (\d+) vPE (0x\w+) VPT (0x\w+)")
_PENDING = re.compile(r"cpu (\d+): redistributor (0x\w+), pending table (0x\w+), pending \[(.*)\]")


def path(name):
    return DUMPS / f"{name}.elf.xz"


@cache
def dump(name):
    return read_dump(path(name))


def facts(name):
    return (DUMPS / f"{name}.facts.txt").read_text().splitlines()


def devices(name):
    """{DeviceID: (ITT, events, {EventID: (LPI, CPU, (vINTID, vPEID, VPT) or None)})}."""
    found = {}
    for line in facts(name):
        if match := _DEVICE.match(line):
            events = {}
            found[int(match[1], 16)] = (int(match[2], 16), int(match[3]), events)
        elif match := _EVENT.match(line):
            vlpi = _VLPI.search(line)
            forwarded = (int(vlpi[1]), int(vlpi[2], 16), int(vlpi[3], 16)) if vlpi else None
            events[int(match[1])] = (int(match[2]), int(match[3]), forwarded)
    return found


def handlers(name):
    """{LPI: (irq, handler)}."""
    return {int(match[2]): (int(match[5]), match[6]) for line in facts(name) if (match := _EVENT.match(line))}


def pending(name):
    """{CPU: [LPI, ...]}."""
    matches = [match for line in facts(name) if (match := _PENDING.match(line))]
    return {int(match[1]): [int(lpi) for lpi in match[4].split(",") if lpi] for match in matches}


def changed(dump, places):
    """A dump with other words at some addresses."""
    segments = []
    for segment in dump.segments:
        octets = np.array(segment.data)
        for address, word in places.items():
            if segment.address <= address < segment.end:
                octets[address - segment.address :][:8] = list(struct.pack("<Q", word & (1 << 64) - 1))
        segments.append(Segment(segment.address, octets, segment.offset))
    return Dump(segments)
