# SPDX-License-Identifier: Apache-2.0
"""Linux' own vgic beside `gicmodel.kvm`."""
