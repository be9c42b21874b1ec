"""The arrows of the design: who may import whom, what stays cheap, and that nothing goes round in circles."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def without_types(tree):
    """Return the tree without what is imported for type checkers only."""
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    return tree


FILES = {
    path: without_types(ast.parse(path.read_text()))
    for name in ("workbench", "systems", "studies")
    for path in sorted((ROOT / name).rglob("*.py"))
}


def imported(tree, *, everywhere=True):
    nodes = ast.walk(tree) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports here are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    room = path.relative_to(ROOT).parts[0]
    names = set(imported(FILES[path]))
    packages = {name.split(".")[0] for name in names}
    if room == "workbench" and path.name != "cli.py":
        assert not packages & {"systems", "studies"}
    if room == "systems":
        allowed = {"workbench", "workbench.dataset", "workbench.errors", "workbench.checks"}
        mine = {n for n in names if n.startswith("workbench")}
        assert "studies" not in packages
        assert all(
            n in allowed or n.startswith(("workbench.dataset.", "workbench.errors.", "workbench.checks.")) for n in mine
        )
        top = {name.split(".")[0] for name in imported(FILES[path], everywhere=False)}
        assert not top & {"torch", "matplotlib"}
    if "matplotlib" in packages:
        assert path.name == "plot.py" or path.name.endswith("_figures.py")
    assert "workbench.cli" not in names
    if path.name != "files.py":
        assert not {"to_netcdf", "open_datatree"} & {
            n.attr for n in ast.walk(FILES[path]) if isinstance(n, ast.Attribute)
        }


def test_no_import_cycles():
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
    graph = {
        m: {n for n in imported(FILES[p], everywhere=False) if n in modules and n != m} for m, p in modules.items()
    }
    for start in graph:
        seen, todo = set(), list(graph[start])
        while todo:
            module = todo.pop()
            if module not in seen:
                seen.add(module)
                todo.extend(graph[module])
        assert start not in seen, f"{start} imports itself in the end"


@pytest.mark.parametrize("package", ["systems", "workbench", "workbench.dataset"])
def test_import_is_cheap(package):
    code = f"import sys, {package}; sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'scipy.integrate')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_module_and_public_name_is_documented():
    for path, tree in FILES.items():
        assert ast.get_docstring(tree), path
        public = next(
            (n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"), None
        )
        if public is not None and isinstance(public.value, ast.List):
            named = set(ast.literal_eval(public.value))
            for node in tree.body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in named:
                    assert ast.get_docstring(node), f"{path}: {node.name}"
