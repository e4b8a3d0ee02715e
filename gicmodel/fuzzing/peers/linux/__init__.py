# SPDX-License-Identifier: Apache-2.0
"""Linux' own code as a peer: files of a kernel's source, compiled for user space between stand-ins of ours."""
