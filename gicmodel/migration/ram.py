# SPDX-License-Identifier: Apache-2.0
"""Copying guest RAM page by page, as a live migration does it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gicmodel.memory import PAGE_BYTES, WRITTEN, GuestMemory

CHUNK_PAGES = 4096


class ConnectionLost(Exception):
    """What connects two hosts is gone."""


class Connection:
    """What carries guest RAM from one host to another; it breaks after `pages_left` pages."""

    def __init__(self, pages_left: int) -> None:
        self.pages_left = pages_left

    def take(self, pages: int) -> int:
        """How many of `pages` pages still arrive."""
        arriving = min(pages, self.pages_left)
        self.pages_left -= arriving
        return arriving


def copy_pages(
    source: GuestMemory,
    target: GuestMemory,
    pages: NDArray[np.int64],
    progress: Callable[[int], None],
    connection: Connection | None = None,
) -> int:
    """Copy pages, int64 [n] of page addresses, to the same addresses; how many bytes. `progress` gets bytes so far.

    Raises:
        ValueError: the two windows are not the same.
        ConnectionLost: the connection broke before the last page.
    """
    if (source.base, source.size) != (target.base, target.size):
        raise ValueError(
            f"RAM {target.base:#x}+{target.size:#x} cannot take pages of {source.base:#x}+{source.size:#x}"
        )
    sources, targets = (memory.octets.reshape(-1, PAGE_BYTES) for memory in (source, target))
    arriving = len(pages) if connection is None else connection.take(len(pages))
    numbers = (pages[:arriving] - source.base) // PAGE_BYTES
    for start in range(0, len(numbers), CHUNK_PAGES):
        chunk = numbers[start : start + CHUNK_PAGES]
        targets[chunk] = sources[chunk]
        target.page_state[chunk] |= WRITTEN  # what arrives is not dirty
        progress((start + len(chunk)) * PAGE_BYTES)
    if arriving < len(pages):
        raise ConnectionLost(f"the connection broke after {arriving} of {len(pages)} pages")
    return len(numbers) * PAGE_BYTES
