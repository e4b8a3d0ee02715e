# SPDX-License-Identifier: Apache-2.0
"""The error with which KVM refuses a request, and what is worse."""


class KvmError(Exception):
    """A request that Linux refuses.

    `errno` is the name of the error number ("EACCES", "EBUSY", ...), `cause` one line that names what was refused and
    why.
    """

    def __init__(self, errno: str, cause: str) -> None:
        super().__init__(f"{errno}: {cause}")
        self.errno = errno
        self.cause = cause


class HostOops(Exception):
    """The host kernel dereferences a null pointer. Only kernels without the fix do; see `KvmBehaviour`."""
