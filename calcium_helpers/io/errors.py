"""What goes wrong with files, said so that the reader knows what to do."""

from __future__ import annotations

from pathlib import Path


class MovieFileError(ValueError):
    """A file cannot be used as a movie (or as results).

    Parameters
    ----------
    path : Path or str
        The file; its name opens the message.
    problem : str
        What is wrong with it and what was expected.
    remedy : str
        What to do, a sentence of its own.
    """

    def __init__(self, path: Path | str, problem: str, remedy: str) -> None:
        super().__init__(str(path), problem, remedy)

    def __str__(self) -> str:
        path, problem, remedy = self.args
        return f"{path}: {problem}. {remedy}"
