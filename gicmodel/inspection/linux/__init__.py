# SPDX-License-Identifier: Apache-2.0
"""What a dump of a Linux kernel says of its GIC: registers are not in a dump, but the driver's copies of them are.

`scan` goes over the RAM once; `kernels` tells the kernels apart that it finds there; `registers` makes the registers of
one, each with the place that it came from; `devices` follows its structures, by the kernel's own BTF.
"""
