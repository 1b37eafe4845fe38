"""The wheel holds all that the package needs: installed into an empty folder it lists the manifest."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "data_manifest.yaml", "calcium_helpers")
LIST = "from calcium_helpers import manifest; print(manifest.__file__, *(entry.name for entry in manifest.entries()))"

pytestmark = pytest.mark.slow


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Source distribution of a copy of the sources, and the wheel made from it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source, target = ROOT / name, folder / "source" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder / "source"), cwd=folder)
    return folder / "dist"


def test_the_wheel_holds_what_is_not_python(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {path.relative_to(ROOT).as_posix() for path in (ROOT / "calcium_helpers" / "report").glob("*.[hcj]*[lts]")}
    assert {"calcium_helpers/data_manifest.yaml", *data} <= names
    assert {name.split("/")[0] for name in names} == {"calcium_helpers", wheel.name.split("-py3")[0] + ".dist-info"}


def test_the_wheel_works_in_an_empty_folder(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    (tmp_path / "empty").mkdir()
    target = tmp_path / "target"
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
        cwd=tmp_path,
    )
    # -P and the path first: neither this folder nor an editable install may answer instead.
    code = f"import sys; sys.path.insert(0, {str(target)!r}); {LIST}"
    where, *names = run(sys.executable, "-P", "-c", code, cwd=tmp_path / "empty").split()
    assert Path(where).is_relative_to(target)
    assert {"demo_2p", "neurofinder_7hz", "cascade_ds09"} <= set(names)
    assert list((tmp_path / "empty").iterdir()) == []


def test_the_source_distribution_holds_the_manifest(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"data_manifest.yaml", "setup.py", "pyproject.toml"} <= names
