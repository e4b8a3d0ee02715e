# SPDX-License-Identifier: Apache-2.0
"""The error that every reader of hostile input raises."""


class UnusableInput(Exception):
    """Input from outside (a dump, registers, a trace, commands) that breaks a rule.

    The message is one line that names the value, its place and the rule. The command line prints it on stderr and exits
    with 2.
    """
