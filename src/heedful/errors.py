"""The one exception a user meets: what is wrong, where, and the remedy, in one line."""


class HeedfulError(Exception):
    """Bad input or a state that only the user can mend.

    The message is one line: file, line and remedy where they exist. The command line prints it
    without a traceback and exits with code 2.
    """
