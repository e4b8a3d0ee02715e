# SPDX-License-Identifier: Apache-2.0
"""The error with which KVM refuses a request."""


class KvmError(Exception):
    """A request that Linux refuses.

    `errno` is the name of the error number ("EACCES", "EBUSY", ...), `cause` one line that names what was refused and
    why.
    """

    def __init__(self, errno: str, cause: str) -> None:
        super().__init__(f"{errno}: {cause}")
        self.errno = errno
        self.cause = cause
