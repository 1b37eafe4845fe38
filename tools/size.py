"""Print the lines of each module and, against the budget, the lines of code: without docstrings, comments and blank lines."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "calcium_helpers"
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


def count_code(source: str) -> int:
    """Count the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE and token.type != tokenize.ENDMARKER:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def main() -> int:
    """Print the table; 1 when the budget, the only argument, is exceeded."""
    budget = int(sys.argv[1])
    total = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        code = count_code(source)
        total += code
        print(f"{len(source.splitlines()):5d} lines, {code:4d} of code  {path.relative_to(PACKAGE.parent)}")
    print(f"{total} lines of code of {budget}")
    return int(total > budget)


if __name__ == "__main__":
    raise SystemExit(main())
