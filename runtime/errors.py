"""The errors a user can meet. Each text says what was asked, what was found and what to do."""


class UfaError(Exception):
    """Something the user can mend; the command line prints its text and ends with ``exit_code``."""

    exit_code = 2


class InputError(UfaError):
    """A frame, a file, a folder or an option cannot be used."""


class ModelError(UfaError):
    """A model file is broken, foreign, stale or does not fit the request."""


class BackendError(UfaError):
    """An inference engine is missing, or refuses the model or the machine."""


class OutputError(UfaError):
    """A result cannot be written."""


class CheckFailed(UfaError):  # noqa: N818 - reads as what happened, and is no fault of the input
    """The work was done and a check of its result fell short."""

    exit_code = 1
