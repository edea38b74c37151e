"""Files and folders that a process keeps for itself."""

import fcntl


def locked_alone(handle: int) -> bool:
    """Lock an open file or folder for this process, until it is closed.

    Args:
        handle: A file descriptor.

    Returns:
        Whether nobody else has it: False where another process does. Also where the file system locks nothing.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
