# SPDX-License-Identifier: Apache-2.0
"""Copying guest RAM page by page, as a live migration does it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gicmodel.memory import PAGE_BYTES, WRITTEN, GuestMemory

CHUNK_PAGES = 4096


def copy_pages(
    source: GuestMemory, target: GuestMemory, pages: NDArray[np.int64], progress: Callable[[int], None]
) -> int:
    """Copy pages, int64 [n] of page addresses, to the same addresses; how many bytes. `progress` gets bytes so far.

    Raises:
        ValueError: the two windows are not the same.
    """
    if (source.base, source.size) != (target.base, target.size):
        raise ValueError(
            f"RAM {target.base:#x}+{target.size:#x} cannot take pages of {source.base:#x}+{source.size:#x}"
        )
    sources, targets = (memory.octets.reshape(-1, PAGE_BYTES) for memory in (source, target))
    numbers = (pages - source.base) // PAGE_BYTES
    for start in range(0, len(numbers), CHUNK_PAGES):
        chunk = numbers[start : start + CHUNK_PAGES]
        targets[chunk] = sources[chunk]
        target.page_state[chunk] |= WRITTEN  # what arrives is not dirty
        progress((start + len(chunk)) * PAGE_BYTES)
    return len(numbers) * PAGE_BYTES
