"""What spark-submit runs: `fraudengine spark run`, or `replay` where that is the first argument."""

from __future__ import annotations

import sys

from fraudengine.cli import main

if __name__ == "__main__":
    command = [] if sys.argv[1:2] == ["replay"] else ["run"]
    sys.argv = ["fraudengine", "spark", *command, *sys.argv[1:]]
    main()
