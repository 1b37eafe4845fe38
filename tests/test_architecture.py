"""The rules of the house: what imports what, how long things are, what must not be said."""

import ast
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "calcium_helpers"
MODULES = sorted(PACKAGE.rglob("*.py"))
FUNCTIONS = [
    pytest.param(path, node, id=f"{path.relative_to(PACKAGE)}:{node.name}")
    for path in MODULES
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]
BANNED = {"utils", "helpers", "core", "common", "misc", "types"}
HEAVY = ("torch", "matplotlib", "numba")


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).exists()]


def texts() -> dict[Path, str]:
    """Text files of the repository; this one and the sanitize patterns speak of what they look for."""
    own = {Path(__file__).resolve(), ROOT / "tools" / "nbval_sanitize.cfg"}
    kinds = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".cfg", ".ipynb", ".html", ".css", ".js", ".csv", ""}
    return {path: path.read_text(encoding="utf-8") for path in tracked() if path.suffix in kinds and path not in own}


def body_lines(node: ast.AST) -> int:
    """Lines of a function without its docstring."""
    lines = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    return lines


def exported(path: Path) -> set[str]:
    """Names that the package of a module offers by its ``__all__``, or the whole package by its table of names."""
    import calcium_helpers

    names = set(calcium_helpers.__all__)
    init = path.parent / "__init__.py"
    for node in ast.parse(init.read_text(encoding="utf-8")).body if path.parent != PACKAGE and init.exists() else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names |= set(ast.literal_eval(node.value))
    return names


def public(path: Path) -> list[tuple[str, ast.AST]]:
    """Functions, classes and methods without an underscore; bodies of protocols say nothing."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found.append((node.name, node))
            members = node.body if isinstance(node, ast.ClassDef) else ()
            methods = [child for child in members if isinstance(child, ast.FunctionDef) and not child.name.startswith("_")]
            found.extend((f"{node.name}.{child.name}", child) for child in methods if ast.unparse(child.body[-1]) != "...")
    return found


PUBLIC = [(path, name, node) for path in MODULES for name, node in public(path)]
EXPORTED = [
    pytest.param(node, id=f"{relative(path)}:{name}")
    for path, name, node in PUBLIC
    if isinstance(node, ast.FunctionDef) and name in exported(path)
]


def test_imports_point_down():
    """The layers of pyproject.toml; a module without a place there fails too."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "import calcium_helpers",
        "import calcium_helpers.io",
        "import calcium_helpers.manifest",
        "import runpy; sys.argv = ['calcium-helpers', '--help']\n"
        "try: runpy.run_module('calcium_helpers', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code",
    ],
    ids=["package", "io", "manifest", "help"],
)
def test_importing_is_light(command, tmp_path):
    """Neither heavy libraries nor a trace on the disk."""
    code = f"import sys\n{command}\nprint('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"
    assert list(tmp_path.iterdir()) == []


def test_every_name_of_the_package_is_where_it_says():
    import calcium_helpers

    # Twice: importing a module of the same name would hide a function from the second look on.
    for _ in range(2):
        found = {name: getattr(calcium_helpers, name) for name in calcium_helpers.__all__}
        assert [name for name, value in found.items() if inspect.ismodule(value)] == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_every_folder_is_a_package():
    """A folder without ``__init__.py`` would be left out of the wheel."""
    assert [relative(path) for path in MODULES if not path.with_name("__init__.py").exists()] == []


def test_the_package_is_thin():
    done = subprocess.run([sys.executable, "tools/size.py", "20000"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


@pytest.mark.parametrize(("path", "node"), FUNCTIONS)
def test_functions_are_short(path, node):
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = [argument.arg for argument in arguments if argument.arg not in {"self", "cls"}]
    assert body_lines(node) <= 50
    assert len(names) <= 8


def test_names_say_what_is_inside():
    parts = {part.removesuffix(".py") for path in MODULES for part in path.relative_to(PACKAGE).parts}
    assert not parts & BANNED
    assert not [part for part in parts if re.search(r"_part\d", part)]


def test_what_is_public_says_what_it_does():
    assert [f"{relative(path)}:{name}" for path, name, node in PUBLIC if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("node", EXPORTED)
def test_what_is_exported_is_documented(node):
    """Each parameter and what is returned, in numpydoc sections."""
    text = ast.get_docstring(node) or ""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    if arguments:
        section = re.search(r"^Parameters\n-+\n(.*?)(?=\n\n[A-Z][\w ]*\n-+$|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section, "no section Parameters"
        lines = re.findall(r"^(\w[\w, *]*?)(?: :.*)?$", section[1], re.MULTILINE)
        assert {argument.arg for argument in arguments} <= {name.strip() for line in lines for name in line.split(",")}
    if node.returns is not None and ast.unparse(node.returns) != "None":
        assert re.search(r"^(Returns|Yields)\n-+$", text, re.MULTILINE), "no section Returns"


def test_no_path_of_a_machine_is_in_the_repository():
    pattern = re.compile(r"(?<![\w.:/~-])/(?:tmp|work|root|home|Users|opt|farm)/\w")
    found = {path.name: match[0] for path, text in texts().items() if (match := pattern.search(text))}
    assert found == {}


def test_nothing_is_left_unfinished():
    pattern = re.compile(r"NotImplementedError|\b(?:TODO|FIXME|XXX)\b|mark\.skip\(|assert True")
    found = {path.name: match[0] for path, text in texts().items() if path.suffix == ".py" and (match := pattern.search(text))}
    assert found == {}


def test_no_large_file_is_in_the_repository():
    assert {path.name: path.stat().st_size for path in tracked() if path.stat().st_size > 5_000_000} == {}


def test_constraints_pin_what_the_tests_run_on():
    """Exact public versions, one line a package, all requirements of the core and of the tests among them."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines)
    assert not [version for version in pins.values() if not re.fullmatch(r"\d+(\.\w+)*", version)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {
        re.match(r"[\w-]+", item)[0].lower() for item in project["dependencies"] + project["optional-dependencies"]["test"]
    }
    assert needed <= {name.lower().replace("_", "-") for name in pins}


def test_the_conda_environment_leads_to_pyproject():
    from rattler import MatchSpec

    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    specs = {spec.name.normalized: spec for spec in (MatchSpec(item, strict=True) for item in conda)}
    assert set(specs) == {"python", "pip"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert str(specs["python"].version) == project["requires-python"]
    assert pip == {"pip": ["-e .[all]"]}
    assert "test" in project["optional-dependencies"]["all"][0]
