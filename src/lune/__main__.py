"""``python -m lune`` is ``lune``."""

from __future__ import annotations

import sys

from lune.cli import main

if __name__ == "__main__":
    sys.exit(main())
