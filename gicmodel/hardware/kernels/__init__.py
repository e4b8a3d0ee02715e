# SPDX-License-Identifier: Apache-2.0
"""The silicon: kernels over `state.Machine`. Read them in the order of an interrupt:

`translation` (a device writes GITS_TRANSLATER) -> `tables` (DTE, ITE, CTE or vPE entry in RAM) -> `delivery` (set the
pending bit, ring a doorbell) -> `pending` (the bit itself) -> `highest` (what the CPU interface acknowledges).
Commands come in through `queue`, which calls one function of `physical_commands`, `virtual_commands` or `vpe_commands`
for each.
"""
