# SPDX-License-Identifier: Apache-2.0
"""The silicon: kernels over `state.Machine`. Read them in the order of an interrupt:

`translation` (a device writes GITS_TRANSLATER) -> `lookup` (from DeviceID and EventID to a target, with all checks) ->
`tables` and `entries` (DTE, ITE, CTE or vPE entry in RAM) -> `delivery` (the interrupt becomes pending, a doorbell
rings) -> `pending` (the bit itself) -> `highest` and `cpu` (the most urgent one) -> `cpu_interface` (beside SGIs, PPIs
and SPIs, which come in through `inputs`; the PE acknowledges it).
Commands come in through `queue`, which calls one function of `physical_commands`, `virtual_commands` or `vpe_commands`
for each.
"""
