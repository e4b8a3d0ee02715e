# SPDX-License-Identifier: Apache-2.0
"""What the hardware is compared with: one module a peer, each with a `comparison.Peer` named PEER."""
