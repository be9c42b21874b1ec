"""Files of one's own: run as modules, in worker processes too, so that their classes can be stored and sent."""

import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

__all__ = ["LOADED", "PluginError", "load"]

LOADED: dict[str, Path] = {}  # files that were run, by the name of their module


class PluginError(RuntimeError):
    """A plug-in file fails; the message names file and line."""


def load(file: str | Path) -> ModuleType:
    """Run a Python file as a module of its name; its systems, studies, matches and models are then known.

    While it runs it can import modules that lie beside it. A file that is loaded again replaces its module, unless it
    fails.

    Parameters
    ----------
    file : str or pathlib.Path
        The file.

    Returns
    -------
    module

    Raises
    ------
    ValueError
        If the file does not exist, or another plug-in, or a module that is loaded or installed, has its name.
    PluginError
        If the file fails.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "my_constants.py"
    ...     _ = path.write_text("boiling = 373.15")
    ...     load(path).boiling
    373.15
    """
    path = Path(file).expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"the plug-in file {file} does not exist")
    other = sys.modules.get(path.stem)
    if path.stem not in LOADED and _file_of(other) == path.resolve():  # imported by another plug-in beside it
        LOADED[path.stem] = path
        return other  # type: ignore[return-value]
    _require_free_name(path, file)
    module = ModuleType(path.stem)
    module.__file__ = str(file)
    sys.modules[path.stem] = module
    try:
        with _beside(path):
            exec(compile(path.read_text(encoding="utf-8"), str(file), "exec"), module.__dict__)  # noqa: S102
    except BaseException as error:
        sys.modules.pop(path.stem, None)
        if other is not None:
            sys.modules[path.stem] = other
        if not isinstance(error, Exception):
            raise
        raise PluginError(_described(file, error)) from error
    LOADED[path.stem] = path
    return module


def _require_free_name(path: Path, file: str | Path) -> None:
    """Raise `ValueError` if a plug-in has the name of another one or of a module that is loaded or installed."""
    name = path.stem
    if name in LOADED:
        if LOADED[name].resolve() == path.resolve():
            return
        raise ValueError(f"the plug-in {file} has the name of the plug-in {LOADED[name]}: rename one of the files")
    if name in sys.modules:
        raise ValueError(f"the plug-in {file} has the name of the module {name}, which is loaded: rename the file")
    if _installed(name, path.parent):
        raise ValueError(f"the plug-in {file} has the name of the module {name}, which is installed: rename the file")


def _file_of(module: ModuleType | None) -> Path | None:
    """Return the file of a module, if it has one."""
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _installed(name: str, folder: Path) -> bool:
    """Return whether Python finds a module of this name outside a folder."""
    folder = folder.resolve()
    search = [entry for entry in sys.path if Path(entry or ".").resolve() != folder]
    for finder in sys.meta_path:
        spec = finder.find_spec(name, search if finder is PathFinder else None)
        if spec is not None and spec.origin is not None and Path(spec.origin).resolve().parent != folder:
            return True
    return False


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Let a plug-in import the modules that lie beside it, while it runs; installed modules come first."""
    folder = str(path.parent)
    sys.path.append(folder)
    importlib.invalidate_caches()  # files may be newer than the last look into the folder
    try:
        yield
    finally:
        sys.path.remove(folder)


def _described(file: str | Path, error: Exception) -> str:
    """Return where and how a file fails."""
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == str(file)]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(file) else None
    where = f"{file}, line {line or (lines[-1] if lines else '?')}"
    text = error.msg if isinstance(error, SyntaxError) else error.args[0] if error.args else ""
    return f"the plug-in {where}, fails: {type(error).__name__}: {text}"
