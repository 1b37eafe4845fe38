"""Copies data_manifest.yaml, which stands beside the package, into what is installed."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithManifest(build_py):
    """``build_py`` and the manifest; an editable install reads the file beside the package instead."""

    manifest = "data_manifest.yaml"

    def run(self) -> None:
        """Copy the modules, then the manifest."""
        super().run()
        if not self.editable_mode:
            self.copy_file(self.manifest, str(self._target()))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """List the files built."""
        return [*super().get_outputs(include_bytecode), str(self._target())]

    def get_source_files(self) -> list[str]:
        """List the files that a source distribution needs."""
        return [*super().get_source_files(), self.manifest]

    def _target(self) -> Path:
        return Path(self.build_lib) / "calcium_helpers" / self.manifest


setup(cmdclass={"build_py": BuildWithManifest})
