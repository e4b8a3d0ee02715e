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
    """The host kernel does not survive it: it dereferences a null pointer. `KvmBehaviour` says which have the fix."""


class HostStorm(HostOops):
    """The host kernel does nothing else any more: it raises an interrupt whose handler raises it again, for ever."""
