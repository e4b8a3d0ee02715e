# SPDX-License-Identifier: Apache-2.0
"""An AArch64 board around the hardware: Unicorn's processors, RAM, and what software needs to boot. Extra `[board]`.

Unicorn is under the GNU General Public License, version 2: what imports this package, and only that, uses it.
"""

from gicmodel.board.board import Board, Ending, new_gic
from gicmodel.board.boot import Result, powered_on

__all__ = ["Board", "Ending", "Result", "new_gic", "powered_on"]
