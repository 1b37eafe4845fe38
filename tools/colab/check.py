"""Install the package as Colab would, in the environment of the running Python: ``make test-colab``.

Three checks: pip would install this package and nothing else; each notebook's first cell, its ``git clone`` redirected to
this checkout's last commit, leaves a working package behind; and two notebooks run whole, with a file uploaded at their end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

COLAB = Path(__file__).resolve().parent
ROOT = COLAB.parents[1]
WHOLE = ("05_analysis_report", "01_one_photon_localisation")


def run(*command: str, cwd: str, env: dict[str, str]) -> str:
    """Run a command and return what it printed; stop with its output when it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def redirect_git(folder: str, address: str) -> dict[str, str]:
    """Return an environment in which git clones ``address`` from this checkout and Python finds ``google.colab``.

    What notebooks leave behind among temporary files goes with ``folder``.
    """
    config = Path(folder) / "gitconfig"
    config.write_text(f'[url "{ROOT.as_uri()}"]\n\tinsteadOf = {address}\n[safe]\n\tdirectory = *\n', encoding="utf-8")
    return {**os.environ, "GIT_CONFIG_GLOBAL": str(config), "PYTHONPATH": str(COLAB), "TMPDIR": folder}


def main() -> None:
    """Run the checks."""
    address = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    with tempfile.TemporaryDirectory(dir=sys.prefix) as folder:
        env = redirect_git(folder, address)
        run(*pip, "uninstall", "-qy", "calcium-helpers", cwd=folder, env=env)
        run("git", "clone", "-q", address, "checkout", cwd=folder, env=env)
        said = run(*pip, "install", "--dry-run", "./checkout", cwd=folder, env=env)
        would = [line for line in said.splitlines() if line.startswith("Would install")]
        if len(would) != 1 or not would[0].startswith("Would install calcium-helpers-") or len(would[0].split()) != 3:
            sys.exit(f"pip should install calcium-helpers and nothing else:\n{said}")
        print(would[0])
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    if not notebooks:
        sys.exit("no notebook found in notebooks/")
    for notebook in notebooks:
        print(notebook.name)
        with tempfile.TemporaryDirectory(dir=sys.prefix) as folder:
            env = redirect_git(folder, address)
            run(*pip, "uninstall", "-qy", "calcium-helpers", cwd=folder, env=env)
            print(run(sys.executable, str(COLAB / "bootstrap.py"), str(notebook), cwd=folder, env=env), end="")
            if notebook.stem in WHOLE:
                print(run(sys.executable, str(COLAB / "whole.py"), str(notebook), cwd=folder, env=env), end="")


if __name__ == "__main__":
    main()
