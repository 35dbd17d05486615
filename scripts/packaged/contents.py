"""Check that a wheel holds the package's files and licenses, and nothing else: contents.py WHEEL PACKAGE."""

import sys
import zipfile
from pathlib import Path


def main() -> None:
    """Compare the wheel with the package's folder; exit with one line per difference."""
    wheel, package = map(Path, sys.argv[1:])
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = {name.partition(".dist-info/")[2] for name in archive.namelist() if ".dist-info/" in name}
    files = {path.as_posix() for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    files -= {name for name in files if name.endswith("README.md")}  # for readers of the repository
    files.add(f"{package}/py.typed")  # without which type checkers ignore the annotations
    licenses = {f"licenses/{name}" for name in files if "LICENSE" in name} | {"licenses/LICENSE"}
    problems = [f"{name} is not in the wheel" for name in sorted(files - packed)]
    problems += [f"{name} is in the wheel, but not in {package}" for name in sorted(packed - files)]
    problems += [f"{name} is not in the wheel's metadata" for name in sorted(licenses - metadata)]
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
