# SPDX-License-Identifier: Apache-2.0
"""The smallest vmcore in kdump's compressed format, version 6: a header, a sub header, two bitmaps, packed pages."""

import struct
import zlib

ZLIB = 1
VMCOREINFO = (
    "OSRELEASE=6.12.0\nPAGESIZE={}\nSYMBOL(swapper_pg_dir)=ffff800081a00000\nSYMBOL(_stext)=ffff800080010000\n"
    "KERNELOFFSET=0\nNUMBER(VA_BITS)=48\nNUMBER(PHYS_OFFSET)=0x40000000\nNUMBER(kimage_voffset)=0xffff80003fe00000\n"
)


def kdump(pages, block=4096, machine="aarch64", compression=ZLIB, **header):
    """A vmcore that holds `pages`, {page frame number: bytes}."""
    frames = max(pages) + 1
    bitmap = bytearray(-(-frames // (8 * block)) * block)
    for frame in pages:
        bitmap[frame // 8] |= 1 << frame % 8
    fields = {"block_size": block, "sub_hdr_size": 1, "bitmap_blocks": 2 * len(bitmap) // block} | header
    front = _header(fields, machine, frames, len(pages), block) + _sub_header(frames, block) + 2 * bytes(bitmap)
    descriptors, data = b"", b""
    for frame in sorted(pages):
        packed = zlib.compress(pages[frame]) if compression else pages[frame]
        place = len(front) + 24 * len(pages) + len(data)
        descriptors += struct.pack("<qIIQ", place, len(packed), compression, 0)
        data += packed
    return front + descriptors + data


def _header(fields, machine, frames, written, block):
    names = ("Linux", "host", "6.12.0", "#1", machine, "(none)")
    start = b"KDUMP   " + struct.pack("<i", 6) + b"".join(name.encode().ljust(65, b"\0") for name in names)
    numbers = (0, 0, 1, *fields.values(), frames, written, 0, written, 0, 1)
    return (start.ljust(408, b"\0") + struct.pack("<qqIiiIIIIIIi", *numbers)).ljust(block, b"\0")


def _sub_header(frames, block):
    text = VMCOREINFO.format(block).encode()
    note = struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text + bytes(-len(text) % 4)
    place = block + 512
    numbers = (0x4000_0000, 31, 0, 0, 0, place + 24, len(text), place, len(note), 0, 0, 0, frames, frames)
    return (struct.pack("<qii8q3Q", *numbers).ljust(512, b"\0") + note).ljust(block, b"\0")
