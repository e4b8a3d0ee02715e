# SPDX-License-Identifier: Apache-2.0
"""GIC drivers in C, run in user space against a `Gic`.

A driver is a shared object, or a C file of which the system's compiler makes one, that includes `gicmodel.h` (in
`INCLUDE`). `run` lets it drive two GICs, each in a process of its own, so that this one survives the driver: one that
retains nothing, and one that is as late as it may be (`gicmodel.lab.late`). What it forgot is named.

`native.host.Host` runs a driver in this process, against a `Gic` that goes on living: the way to see what the driver
has left there. A crash of the driver is then the end of the process.

This needs cffi: `pip install 'gicmodel[native]'`.
"""

from gicmodel.native.running import DEFAULT, INCLUDE, Drive, Outcome, run

__all__ = ["DEFAULT", "INCLUDE", "Drive", "Outcome", "run"]
