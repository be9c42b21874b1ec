"""Files of one's own: run as modules, in worker processes too, so that their classes can be stored and sent."""

import sys
import traceback
from pathlib import Path
from types import ModuleType

__all__ = ["LOADED", "PluginError", "load"]

LOADED: dict[str, Path] = {}  # files that were run, by the name of their module


class PluginError(RuntimeError):
    """A plug-in file fails; the message names file and line."""


def load(file: str | Path) -> ModuleType:
    """Run a Python file as a module of its name; its systems, studies, matches and models are then known.

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
        If the file does not exist, or another module has its name.
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
    if other is not None and path.stem not in LOADED:
        raise ValueError(f"the plug-in {file} has the name of the module {path.stem}, which is loaded: rename the file")
    module = ModuleType(path.stem)
    module.__file__ = str(file)
    LOADED[path.stem], sys.modules[path.stem] = path, module
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(file), "exec"), module.__dict__)  # noqa: S102
    except Exception as error:
        del LOADED[path.stem], sys.modules[path.stem]
        raise PluginError(_described(file, error)) from error
    return module


def _described(file: str | Path, error: Exception) -> str:
    """Return where and how a file fails."""
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == str(file)]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(file) else None
    where = f"{file}, line {line or (lines[-1] if lines else '?')}"
    text = error.msg if isinstance(error, SyntaxError) else error.args[0] if error.args else ""
    return f"the plug-in {where}, fails: {type(error).__name__}: {text}"
