# SPDX-License-Identifier: Apache-2.0
"""Linux' own ITS driver: on the hardware, and beside `gicmodel.driver`."""
