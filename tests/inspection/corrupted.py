# SPDX-License-Identifier: Apache-2.0
"""Corrupted images: whole files with their registers, damaged, and given to the verb as a user would.

As a program it tries many: `python -m tests.inspection.corrupted --images 100000`.
"""

import argparse
import json
import re
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zstandard
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from gicmodel.cli import UNUSABLE, main
from gicmodel.images.files import opened
from gicmodel.images.registers import write_registers
from gicmodel.images.segments import write_elf
from gicmodel.images.sources import read_registers
from gicmodel.layouts.its_tables import DTE, LEVEL1, VPE_CONFIGURATION, VTE
from gicmodel.layouts.kvm_abi import KVM_DTE, KVM_ITE
from gicmodel.layouts.registers.its import GITS_BASER
from gicmodel.memory import PAGE_BYTES
from tests.inspection.machine import Machine, SavedGuest
from tests.inspection.museum import GUEST, HOST, TABLES

CHUNK = 5000
"""Images of one Hypothesis run: it remembers what it has tried."""
HEADROOM = 3 << 30
"""Bytes of address space that reading one image may take beyond what the process has: one table of an image may be
read as far as `gicmodel.inspection.budget` lets it."""
GOLDEN = TABLES / "gicmodel-v4.1-2vcpu"
IMAGES = (HOST, GUEST, (GOLDEN / "source-host.elf.xz", GOLDEN / "source-host.toml"))


class Sample(NamedTuple):
    """An intact ELF core, its registers, and where it has words of RAM that are not zero: what is worth damaging."""

    contents: bytes
    registers: dict[str, dict[str, int]]
    words: list[int]


def _sample(contents, registers):
    used = np.flatnonzero(np.frombuffer(contents[: len(contents) & -8], "<u8"))
    return Sample(contents, registers, (used * 8)[used * 8 >= PAGE_BYTES].tolist())


def samples():
    """Machines of every format, real, golden and made for tests, flat and two-level."""
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for make in (Machine, SavedGuest):
            for indirect in (False, True):
                machine = make(indirect=indirect)
                write_elf(Path(directory, "ram.elf"), machine.memory)
                found.append(_sample(Path(directory, "ram.elf").read_bytes(), machine.registers))
    for image, values in IMAGES:
        with opened(image) as file:
            found.append(_sample(file.read(), read_registers(values)))
    return found


SAMPLES = samples()
ODD = st.sampled_from([0, 1, 7, 8, 0xFFF, 0x1000, (1 << 31) - 1, (1 << 32) - 1, 1 << 51, 1 << 63, (1 << 64) - 1])
WIDTH = st.integers(0, 31)
FRACTION = st.floats(0, 1, exclude_max=True, width=32)


def address_of(sample):
    """An address that a program header names, with an offset into it."""
    load = np.frombuffer(sample.contents, "<u8", 7 * int.from_bytes(sample.contents[56:58], "little"), 64)
    bases = load.reshape(-1, 7)[:, 3].tolist()
    return st.tuples(st.sampled_from(bases), st.integers(0, 31)).map(lambda both: both[0] + (both[1] << 12))


def pointers(sample):
    """Words that are entries in one format or another and point where memory is."""
    address = address_of(sample)
    return st.one_of(
        st.builds(lambda to, size: DTE.pack(Valid=1, ITT_addr=to, Size=size), address, WIDTH),
        st.builds(lambda to, size, on: KVM_DTE.pack(V=1, ITT_addr=to, Size=size, next=on), address, WIDTH, WIDTH),
        st.builds(lambda on, icid: KVM_ITE.pack(pINTID=8192 + icid, ICID=icid, next=on), WIDTH, WIDTH),
        address.map(lambda to: LEVEL1.pack(Valid=1, Physical_Address=to)),
        st.builds(lambda to, size: VTE.pack(Valid=1, VPT_addr=to & -0x10000, VPT_size=size), address, WIDTH),
        st.builds(
            lambda to, size: VPE_CONFIGURATION.pack_words(Valid=1, VPT_addr=to & -0x10000, VPT_size=size)[0],
            address,
            WIDTH,
        ),
        st.builds(
            lambda to, kind, bits: GITS_BASER.pack(Valid=1, Type=kind, Physical_Address=to, Entry_Size=bits, Size=255),
            address,
            st.integers(0, 7),
            WIDTH,
        ),
        ODD,
        st.integers(0, (1 << 64) - 1),
    )


def flips(sample, places):
    """One bit of the byte at a place."""
    return st.builds(lambda place, bit: (place, bytes([sample.contents[place] ^ 1 << bit])), places, st.integers(0, 7))


def words_at(places, words):
    """A word at a place."""
    return st.builds(lambda place, word: (place, word.to_bytes(8, "little")), places, words)


def entries(sample):
    """(place, bytes): entries overwritten or copied elsewhere, bits flipped anywhere."""
    place = FRACTION.map(lambda part: sample.words[int(part * len(sample.words))])
    anywhere = FRACTION.map(lambda part: PAGE_BYTES + int(part * (len(sample.contents) - PAGE_BYTES)))
    copy = st.builds(lambda here, there: (here, sample.contents[there : there + 8]), place, place)
    return st.one_of(words_at(place, pointers(sample)), flips(sample, place), flips(sample, anywhere), copy)


def headers(sample):
    """(place, bytes): damage of the ELF header and the first program headers."""
    place = st.integers(0, 64 + 56 * 4 - 1)
    return st.one_of(words_at(place, st.one_of(ODD, st.integers(0, 1 << 20))), flips(sample, place))


def registers(sample):
    """(frame, register, value): a pointer, an odd value, one bit flipped, or None for a register that is missing."""
    names = st.sampled_from([(frame, name) for frame, values in sample.registers.items() for name in values])
    flipped = lambda name, bit: (*name, sample.registers[name[0]][name[1]] ^ 1 << bit)  # noqa: E731
    return st.one_of(
        st.builds(lambda name, value: (*name, value), names, st.one_of(st.none(), pointers(sample))),
        st.builds(flipped, names, st.integers(0, 63)),
    )


# Made once: to make strategies takes longer than to inspect an image.
ENTRIES = [st.lists(entries(sample), max_size=6) for sample in SAMPLES]
HEADERS = [st.lists(headers(sample), min_size=1, max_size=3) for sample in SAMPLES]
REGISTERS = [st.lists(registers(sample), max_size=2) for sample in SAMPLES]
SAMPLE, ONE_IN_32, BIT = st.integers(0, len(SAMPLES) - 1), st.integers(0, 31), st.integers(0, 7)


@st.composite
def corrupted(draw):
    """The name of a file, its bytes, and its registers."""
    number, kind = draw(SAMPLE), draw(ONE_IN_32)
    sample = SAMPLES[number]
    contents = bytearray(sample.contents)
    for place, octets in draw(ENTRIES[number]) + (draw(HEADERS[number]) if kind < 4 else []):
        contents[place : place + len(octets)] = octets
    if 4 <= kind < 8:
        del contents[int(draw(FRACTION) * len(contents)) :]
    values = {frame: dict(named) for frame, named in sample.registers.items()}
    for frame, name, value in draw(REGISTERS[number]):
        values[frame][name] = value
    values = {
        frame: {name: value for name, value in named.items() if value is not None} for frame, named in values.items()
    }
    if kind > 8:
        return "ram.elf", bytes(contents), values
    packed = bytearray(zstandard.compress(bytes(contents), 1))
    if kind == 8:
        packed[int(draw(FRACTION) * len(packed))] ^= 1 << draw(BIT)
    return "ram.elf.zst", bytes(packed), values


def check(directory, image):
    """A report, or exit status 2 and one line."""
    name, contents, values = image
    (directory / name).write_bytes(contents)
    write_registers(directory / "ram.toml", values)
    result = CliRunner().invoke(main, ["inspect", str(directory / name), "--limit", "20000", "--json"])
    assert isinstance(result.exception, SystemExit | None), result.exc_info
    if result.exit_code == UNUSABLE:
        assert (result.stdout, result.stderr.count("\n")) == ("", 1)
        assert re.match("gicmodel: .", result.stderr)
    else:
        assert (result.exit_code, result.stderr) in ((0, ""), (1, ""))
        json.loads(result.stdout)
    return result.exit_code


def bounded(headroom):
    """From here on the process has so much more address space and no more: more is a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + headroom, resource.RLIM_INFINITY))


def campaign(images, first):
    """Try so many images, with seeds from `first` on; how many ended with which status, and the slowest in seconds."""
    ended = {0: 0, 1: 0, 2: 0}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as directory:

        def one(image):
            nonlocal slowest
            start = time.monotonic()
            ended[check(Path(directory), image)] += 1
            slowest = max(slowest, time.monotonic() - start)

        for number, done in enumerate(range(0, images, CHUNK)):
            run = settings(
                max_examples=min(CHUNK, images - done),
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(given(corrupted())(one))
            seed(first + number)(run)()
            print(f"{sum(ended.values())} images: {ended}, slowest {slowest:.2f} s", flush=True)
    return ended, slowest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Inspect many corrupted images.")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    bounded(HEADROOM)
    begin = time.monotonic()
    campaign(arguments.images, arguments.seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{time.monotonic() - begin:.0f} s, at most {peak} MiB resident")
