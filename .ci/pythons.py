"""The oldest and the newest Python from 3.10 on that this machine has, one path a line (one line where they are the same)."""

import re
import shutil
import subprocess
from pathlib import Path

OLDEST = (3, 10)


def found() -> dict[tuple[int, int], str]:
    """Interpreters by version: those on the path, and pyenv's."""
    names = [path for minor in range(OLDEST[1], 30) if (path := shutil.which(f"python3.{minor}"))]
    names += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin/python"))]
    versions = {}
    for name in names:
        done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
        match = re.match(r"Python (\d+)\.(\d+)\.\d+\s*$", done.stdout)
        if match and (int(match[1]), int(match[2])) >= OLDEST:
            versions.setdefault((int(match[1]), int(match[2])), name)
    return versions


def main() -> None:
    """Print them."""
    versions = found()
    for version in sorted({min(versions), max(versions)}) if versions else []:
        print(versions[version])


if __name__ == "__main__":
    main()
