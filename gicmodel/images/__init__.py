# SPDX-License-Identifier: Apache-2.0
"""The files that RAM and registers come in; what is not in a file is absent, never zero. Nothing here imports numba."""
