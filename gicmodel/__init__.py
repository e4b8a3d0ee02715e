# SPDX-License-Identifier: Apache-2.0
"""An executable, bit-accurate model of the Arm GICv4.1 ITS and redistributor.

Importing the package is cheap: it imports neither numba nor any of its own rooms.
"""

__version__ = "0.2.0"
