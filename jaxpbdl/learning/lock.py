"""A lock on a run folder: one live process at a time."""

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from jaxpbdl.checks import RunFolderError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class RunLock:
    """`with RunLock(folder): ...` makes the folder and holds it for this process.

    The file `run.lock` names the holder's process and host. The kernel's lock on it ends with the
    process, however it ends, so a lock left by a dead process is taken over. A kernel lock may not
    reach other machines: a file that names another host is refused. Raises RunFolderError if the
    folder is held, or cannot be created or written.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self._file = None

    def __enter__(self) -> "RunLock":
        path = self.folder / "run.lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+")
        except OSError as error:
            raise RunFolderError(f"run folder {self.folder} cannot be written: {error}") from error
        file.seek(0)
        try:
            holder = json.loads(file.read(1000) or "null")
            pid, host = (holder["pid"], holder["host"]) if holder else (None, socket.gethostname())
        except (ValueError, KeyError, TypeError):
            pid, host = None, socket.gethostname()  # the holder died while it wrote
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise RunFolderError(
                f"run folder {self.folder} is in use by process {pid} on {host}; "
                "wait for it, end it, or choose another folder"
            ) from error
        if host != socket.gethostname():
            file.close()
            raise RunFolderError(
                f"run folder {self.folder} is locked by process {pid} on {host}; if that process "
                f"is gone, delete {path}"
            )
        try:
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            file.flush()
        except OSError as error:  # a full disk
            _close(file)
            raise RunFolderError(f"run folder {self.folder} cannot be written: {error}") from error
        self._file = file
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._file is not None
        self._file.truncate(0)  # not deleted: another process may already wait on this very file
        self._file.close()
        self._file = None


def _close(file: TextIO) -> None:
    """Close a file whose buffer cannot be written: the first attempt fails and still closes it."""
    with suppress(OSError):
        file.close()
