"""Atomic file writing with damage detection.

A file is written next to its target, sealed, and only then moved into place, so that it appears complete or not at all.
The seal is a final line with the SHA-256 digest of everything before it. Readers check it before any library parses the
content, because libraries may crash on damaged files.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from workbench.errors import FileError

__all__ = ["SEAL_LENGTH", "check_seal", "check_target", "is_sealed", "replacing", "seal"]

SEAL = b"\nworkbench sha256 "
SEAL_LENGTH = len(SEAL) + 64


def check_target(path: str | Path, *, overwrite: bool = False) -> Path:
    """Return the absolute path, or raise `FileError` if no file can be written there. Call it before long runs."""
    target = Path(path).expanduser().absolute()
    try:
        if target.is_dir():
            raise FileError(f"{target} is a directory; give a file name, such as {target / 'result.nc'}")
        if target.exists() and not overwrite:
            raise FileError(f"{target} exists; choose another name or pass overwrite=True")
        if not target.parent.is_dir():
            raise FileError(f"the directory {target.parent} does not exist; create it first")
        _sweep(target)
        probe = _beside(target)
        probe.touch()
        probe.unlink()
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot write in {target.parent}: {error.strerror or error}") from None
    return target


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path next to the target; on exit the file written there replaces the target atomically."""
    temporary = _beside(target)
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def seal(path: Path) -> None:
    """Append the seal and flush the file to disk."""
    with open(path, "r+b") as file:
        line = SEAL + hashlib.file_digest(file, "sha256").hexdigest().encode()
        file.seek(0, os.SEEK_END)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def is_sealed(source: Path) -> bool:
    """Return whether a file ends in a seal, valid or not."""
    with open(source, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - SEAL_LENGTH))
        return file.read().startswith(SEAL)


def check_seal(source: Path, file: BinaryIO) -> None:
    """Raise `FileError` unless the open file ends in the seal of its content."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - SEAL_LENGTH))
    line = file.read()
    if not line.startswith(SEAL):
        raise FileError(f"{source} is damaged, was edited or was not written by workbench: its SHA-256 seal is missing")
    file.seek(0)
    total = hashlib.sha256()
    for start in range(0, size - SEAL_LENGTH, 2**22):
        total.update(file.read(min(2**22, size - SEAL_LENGTH - start)))
    if line[len(SEAL) :].decode("ascii", "replace") != total.hexdigest():
        raise FileError(f"{source} is damaged: its content does not match its SHA-256 seal")


def _beside(target: Path) -> Path:
    """Return the temporary path of this process next to the target."""
    return target.with_name(f".{target.name}.tmp-{os.getpid()}")


def _sweep(target: Path) -> None:
    """Remove temporary files that terminated writers left next to the target."""
    with contextlib.suppress(OSError):
        for leftover in target.parent.glob(f".{target.name}.tmp-*"):
            pid = leftover.name.rpartition("-")[2]
            if pid.isdigit() and not _alive(int(pid)):
                leftover.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    """Return whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
