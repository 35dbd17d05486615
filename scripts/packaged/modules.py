"""Import every module of the installed package: modules.py CHECKOUT [--all].

Without --all a module may lack a package that an extra brings.
"""

import importlib
import pkgutil
import sys
from pathlib import Path

import distbp


def main() -> None:
    """Import the modules one by one; exit with one line per module that cannot be imported."""
    checkout, everything = Path(sys.argv[1]).resolve(), "--all" in sys.argv
    if Path(distbp.__file__).resolve().is_relative_to(checkout):
        sys.exit(f"distbp is imported from the checkout ({distbp.__file__}), not from the wheel")
    problems, missing, count = [], set(), 0
    for module in pkgutil.walk_packages(distbp.__path__, "distbp.", onerror=lambda name: None):
        count += 1
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            missing.add(name := (error.name or "?").partition(".")[0])
            if everything or name == "distbp":
                problems.append(f"{module.name}: {error}")
        except Exception as error:
            problems.append(f"{module.name}: {error!r}")
    if problems:
        sys.exit("\n".join(problems))
    print(f"{count} modules" + (f"; without its extra: {', '.join(sorted(missing))}" if missing else ""))


if __name__ == "__main__":
    main()
