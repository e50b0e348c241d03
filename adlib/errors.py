"""The one exception that is meant for the person at the keyboard."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from outside: a path, a file, a name, a number.

    The message is one sentence: the rule, what was found, what to do about it. The command line
    prints it without a traceback and exits with status 2.
    """
