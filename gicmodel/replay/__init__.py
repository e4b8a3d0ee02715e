# SPDX-License-Identifier: Apache-2.0
"""A recorded trace of a real machine, fed to the hardware, and what the machine left in RAM, compared."""

from gicmodel.replay.comparison import Compared, Difference
from gicmodel.replay.replay import Outcome, replay
from gicmodel.replay.survey import Survey, survey

__all__ = ["Compared", "Difference", "Outcome", "Survey", "replay", "survey"]
