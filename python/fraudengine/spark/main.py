"""What spark-submit runs: the same as `fraudengine spark run`."""

from __future__ import annotations

import sys

from fraudengine.cli import main

if __name__ == "__main__":
    sys.argv = ["fraudengine", "spark", "run", *sys.argv[1:]]
    main()
