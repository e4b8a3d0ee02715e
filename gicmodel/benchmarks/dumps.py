# SPDX-License-Identifier: Apache-2.0
"""A Linux machine's RAM with nothing beside it: found what tells of its GIC, beside one pass over the same bytes."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Side, require
from gicmodel.benchmarks.startup import RUN, process, succeeds
from gicmodel.images.segments import Segment
from gicmodel.inspection import Dump
from gicmodel.inspection.linux.kernels import find_kernels
from gicmodel.layouts.its_tables import DTE, ITE, NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import GITS_BASER, GITS_TYPER

BASE, LINEAR = 0x4000_0000, 0xFFFF_0000_0000_0000 - 0x4000_0000
SIZE, QUICK_SIZE = 1 << 30, 1 << 24
NODE, QUEUE, DEVICES, ITT = BASE + 0x1000, BASE + 0x1_0000, BASE + 0x2_0000, BASE + 0x3_0000
DEVICE, LPI_MAP, BTF = BASE + 0x6_0000, BASE + 0x7_0000, BASE + 0x10_0000
EVENTS, FILLERS = 2, 120_000
"""Events of the device; structures that make the description 4 MiB."""
OF_DEVICE = {"entry": 0, "its": 16, "event_map": 24, "itt": 64, "nr_ites": 72, "device_id": 80}
OF_EVENTS = {"lpi_map": 0, "vlpi_maps": 8, "lpi_base": 16, "nr_lpis": 24, "col_map": 32}
LOG = b"GICv3: using LPI property table @0x0000000040050000"
ONE_PASS = "import sys, numpy; print(numpy.bitwise_or.reduce(numpy.fromfile(sys.argv[1], '<u8')))"


def machine(size: int) -> NDArray[np.uint8]:
    """RAM from BASE on: noise, and in it a kernel's `struct its_node`, its device, its tables, its BTF and its log."""
    octets = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    octets[: ITT + 0x1_0000 - BASE] = 0
    device = GITS_BASER.pack(Valid=1, Type=1, Entry_Size=DTE.bytes - 1, Physical_Address=DEVICES, Page_Size=2)
    typer = GITS_TYPER.pack(Physical=1, ITT_entry_size=ITE.bytes - 1, ID_bits=15, Devbits=12)
    octets[BTF - BASE :][: 8 << 20] = 0
    node = [0x808_0000, QUEUE + LINEAR, QUEUE + LINEAR, DEVICES + LINEAR, device, 0x1_0000 << 32, *[0] * 24, typer]
    start = NODE - 8 + LINEAR
    head, entry = start + 8 * len(node), DEVICE + LINEAR
    put(octets, NODE - 8, np.array([*node, entry, entry], "<u8"))
    device_words = [
        head,
        head,
        start,
        LPI_MAP + LINEAR,
        0,
        FIRST_LPI,
        EVENTS,
        LPI_MAP + 8 + LINEAR,
        ITT + LINEAR,
        EVENTS,
        0,
    ]
    put(octets, DEVICE, np.array(device_words, "<u8"))
    put(octets, LPI_MAP, np.array([(1 << EVENTS) - 1, 0], "<u8"))
    put(octets, BTF, np.frombuffer(btf(8 * len(node)), np.uint8))
    for event in range(EVENTS):
        words = ITE.pack_words(Valid=1, IntType=1, IntID=FIRST_LPI + event, Doorbell=NO_DOORBELL)
        put(octets, ITT + event * ITE.bytes, np.array(words, "<u8").view(np.uint8)[: ITE.bytes])
    put(octets, DEVICES, np.array([DTE.pack(Valid=1, Size=1, ITT_addr=ITT)], "<u8"))
    put(octets, BASE + 0x4_0000, np.frombuffer(LOG.ljust(64, b"\0"), np.uint8))
    return octets


def btf(devices: int) -> bytes:
    """A description of structures as large as a kernel's, with the ITS driver's; `devices` is where its list is."""
    names = {
        "its_node": {"cmd_base": 8, "its_device_list": devices},
        "its_device": OF_DEVICE,
        "event_lpi_map": OF_EVENTS,
    }
    strings, types = b"\0", b""
    for name, members in {"filler": {"one": 0, "two": 8}, **names}.items():
        types += struct.pack("<III", len(strings), 4 << 24 | len(members), 512)
        strings += name.encode() + b"\0"
        for member, offset in members.items():
            types += struct.pack("<III", len(strings), 0, 8 * offset)
            strings += member.encode() + b"\0"
    types = types[: 12 + 2 * 12] * FILLERS + types
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def put(octets: NDArray[np.uint8], address: int, words: NDArray[np.generic]) -> None:
    """Bytes at a physical address."""
    octets[address - BASE :][: words.nbytes] = words.view(np.uint8)


@contextmanager
def scan(quick: bool) -> Iterator[Case]:
    """All that is looked for in RAM, at once."""
    octets = machine(QUICK_SIZE if quick else SIZE)
    dump, words, gib = Dump([Segment(BASE, octets)]), octets.view("<u8"), octets.size / (1 << 30)

    def prove() -> None:
        (kernel,) = find_kernels(dump).kernels
        require(kernel.own and (kernel.nodes[0].place, kernel.nodes[0].queue) == (NODE, QUEUE), "struct its_node")

    model = Side("inspection", partial(find_kernels, dump), gib)
    yield Case(model, Side("one OR of all words", partial(np.bitwise_or.reduce, words), gib), "GiB", prove)


@contextmanager
def answer(quick: bool) -> Iterator[Case]:
    """`inspect` of a raw file from start to end, beside a process that reads it and makes one pass."""
    octets = machine(QUICK_SIZE if quick else SIZE)
    with tempfile.TemporaryDirectory(prefix="gicmodel-bench-") as directory:
        image = Path(directory, "ram.raw")
        octets.tofile(image)
        gib = octets.size / (1 << 30)
        arguments = ("inspect", str(image), "--base", hex(BASE))
        model = Side("gicmodel inspect", partial(process, "-c", RUN, *arguments), gib)
        peer = Side("numpy.fromfile, one OR", partial(process, "-c", ONE_PASS, str(image)), gib)
        yield Case(model, peer, "GiB", partial(succeeds, arguments, f"LPI {FIRST_LPI + EVENTS - 1} cpu 0"))


BENCHMARKS = (
    Benchmark("1 GiB, scan", scan, Goal("cost", 10)),
    Benchmark("1 GiB, inspect", answer, Goal("cost", 3)),
)
