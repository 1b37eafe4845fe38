"""Run the first code cell of a notebook as Colab's kernel would, then use the package: ``python bootstrap.py NOTEBOOK``."""

import json
import sys
from pathlib import Path

import google.colab  # noqa: F401  Colab's kernel has it loaded

cells = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["cells"]
code = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
exec(compile(code, sys.argv[1], "exec"), {"__name__": "__main__"})

import calcium_helpers  # noqa: E402
from calcium_helpers import manifest  # noqa: E402

where = Path(calcium_helpers.__file__)
if "site-packages" not in where.parts:
    sys.exit(f"calcium_helpers was imported from {where}, not from what the cell installed")
print(f"  installed, {len(manifest.entries())} manifest entries")
