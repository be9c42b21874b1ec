"""The arrows of the design: who may import whom, what stays cheap, and that nothing goes round in circles."""

import ast
import importlib
import re
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
    """Yield the dotted names that a module imports, of modules and of what is taken from them."""
    nodes = ast.walk(tree) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports here are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


ORDER = (  # a module imports from its own folder and from those further left; folders of one step do not meet
    ("errors", "checks", "evaluation"),
    ("dataset",),
    ("potentials",),
    ("landscape", "dynamics", "materials", "losses"),
    ("fitting",),
    ("files",),
    ("cli",),
)
FREE = {"version", "interrupts", "atomic", "parallel", "plugins", "plot", "overview", "__init__"}
DRAWING = {("workbench", "plot.py"), ("workbench", "overview.py")}
STEP = {folder: step for step, folders in enumerate(ORDER) for folder in folders}


def folder_of(module):
    """Return the folder (or file) of workbench/ that a dotted name lies in."""
    return module.split(".")[1] if module.startswith("workbench.") else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_order(path):
    place = path.relative_to(ROOT).with_suffix("").parts
    mine = place[1]
    if place[0] != "workbench" or mine in FREE:
        return
    assert mine in STEP, f"{path}: give the folder {mine} a place in the order"
    for name in imported(FILES[path]):
        theirs = folder_of(name)
        if theirs in STEP and theirs != mine:
            assert STEP[theirs] < STEP[mine], f"{'.'.join(place)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_packages_keep_apart(path):
    place = path.relative_to(ROOT).parts
    names = set(imported(FILES[path]))
    packages = {name.split(".")[0] for name in names}
    if place[:2] != ("workbench", "cli"):
        assert not any(name.startswith("workbench.cli") for name in names)
        assert place[0] != "workbench" or not packages & {"systems", "studies"}
    if place[0] == "systems":
        allowed = {"errors", "checks", "evaluation", "dataset"}
        assert "studies" not in packages
        assert {folder_of(name) for name in names} - {None} <= allowed
        top = {name.split(".")[0] for name in imported(FILES[path], everywhere=False)}
        assert not top & {"torch", "matplotlib"}
    if "matplotlib" in packages:
        assert place in DRAWING or path.name.endswith(("figures.py", "animation.py"))
    if "workbench.plot" in names:
        drawing = path.name.endswith(("figures.py", "animation.py")) or place[:2] == ("workbench", "cli")
        assert drawing or place in DRAWING or place == ("studies", "base.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_netcdf_is_touched_in_files_alone(path):
    if path.parent != ROOT / "workbench" / "files":
        calls = {node.attr for node in ast.walk(FILES[path]) if isinstance(node, ast.Attribute)}
        assert not calls & {"to_netcdf", "open_datatree"}


def test_folders_say_what_they_hold_and_nothing_else():
    for path, tree in FILES.items():
        place = path.relative_to(ROOT).parts
        if path.name == "__init__.py" and len(place) > 2 and place[:2] != ("workbench", "dataset"):
            statements = tree.body[1:]
            if place[0] == "studies":
                assert [ast.unparse(s) for s in statements] == [f"from studies.{place[1]} import study as study"]
            else:
                assert not statements, f"{path} holds more than a docstring"


def test_no_import_cycles():
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
    graph = {m: {n for n in imported(FILES[p]) if n in modules and n != m} for m, p in modules.items()}
    bare = {m for m, p in modules.items() if p.name == "__init__.py" and m.count(".")} - {"workbench.dataset"}
    graph = {m: found - bare for m, found in graph.items()}  # a folder's docstring imports nothing, or its study
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


@pytest.mark.parametrize("package", ["systems", "studies"])
def test_listing_is_cheap(package):
    code = f"import sys, {package} as p; p.names(); sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib')))"
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


@pytest.mark.parametrize(
    ("package", "name", "message"),
    [
        ("workbench", "stationary_point", "did you mean 'stationary_points' (workbench.landscape.stationary_points)?"),
        ("workbench", "systems", "it is a separate package, import systems"),
        ("workbench", "get", "workbench has no attribute 'get'"),
        ("systems", "PotentialSytem", "did you mean 'PotentialSystem' (systems.families.potential)?"),
        ("studies", "Metrics", "did you mean 'Metric' (studies.metrics)?"),
        ("studies", "workbench", "it is a separate package, import workbench"),
    ],
)
def test_an_unknown_attribute_is_answered_by_the_nearest_and_its_place(package, name, message):
    with pytest.raises(AttributeError, match=re.escape(message)):
        getattr(importlib.import_module(package), name)


def test_contracts_are_offered_by_their_packages():
    import studies
    import systems

    assert callable(studies.contract.check)
    assert callable(systems.contract.check)
