# SPDX-License-Identifier: Apache-2.0
"""The error of the host driver: Linux's errno by name, and the cause."""

from __future__ import annotations


class DriverError(Exception):
    """An operation that Linux' irq-gic-v3-its.c would refuse, or that the hardware did not complete.

    `errno` is the name of the error number ("EINVAL", "EIO", ...), `cause` one line that names the value and the rule.
    """

    def __init__(self, errno: str, cause: str) -> None:
        super().__init__(f"{errno}: {cause}")
        self.errno = errno
        self.cause = cause
