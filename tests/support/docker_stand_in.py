"""Stands for the program `docker` where there is none: notes each call, runs what would run in our image.

Called as `python docker_stand_in.py NOTES ARGUMENT...`. Only `compose run ... stream COMMAND` does something:
it runs the command line of the package, with the folders that are mounted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def main(notes: Path, arguments: list[str]) -> int:
    """Note a call; return the exit code of what it ran."""
    with notes.open("a", encoding="utf-8") as file:
        file.write(json.dumps(arguments) + "\n")
    if arguments[:2] != ["compose", "run"]:
        return 0
    source, target = arguments[arguments.index("--volume") + 1].split(":")
    command = arguments[arguments.index("stream") + 1 :]
    mapped = [source + each.removeprefix(target) if each.startswith(target) else each for each in command]
    program = Path(sys.executable).with_name("fraudengine")
    return subprocess.run([program, *mapped], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
