"""What pyproject.toml cannot say: the wheel gets the systemd units, and nothing of an earlier build."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PACKAGE = "orchestrator"
UNITS = Path("systemd")
"""The units are where people look for them, outside the package. From a checkout they are read there."""
INSTALLED_UNITS = Path(PACKAGE, "cli/unit/systemd")


class BuildPackage(build_py):
    """Copies the package's files to where the wheel is made from."""

    def run(self) -> None:
        """Copy the files; an editable installation reads them where they are."""
        if not self.editable_mode:
            # A module that was renamed since would stay in build/, and get into the wheel.
            shutil.rmtree(Path(self.build_lib, PACKAGE), ignore_errors=True)
        super().run()
        if not self.editable_mode:
            for source, target in self._units().items():
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return the files that `run` makes."""
        units = [] if self.editable_mode else [str(target) for target in self._units().values()]
        return [*super().get_outputs(include_bytecode), *units]

    def get_source_files(self) -> list[str]:
        """Return the files that the source distribution must have."""
        return [*super().get_source_files(), *map(str, self._units())]

    def _units(self) -> dict[Path, Path]:
        into = Path(self.build_lib, INSTALLED_UNITS)
        return {source: into / source.name for source in sorted(UNITS.iterdir())}


setup(cmdclass={"build_py": BuildPackage})
