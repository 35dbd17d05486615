"""Hold a private folder with a file of N bytes until stdin ends. Arguments: parent folder, N."""

import sys
from pathlib import Path

from distbp.system.folders import private_folder

if __name__ == "__main__":
    with private_folder(Path(sys.argv[1])) as folder:
        (folder / "arrays").write_bytes(bytes(int(sys.argv[2])))
        print(folder, flush=True)
        sys.stdin.read()
