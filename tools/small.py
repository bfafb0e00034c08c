"""Refuse files over 1 MB, all but the published models: python tools/small.py FILE ..."""

import sys
from pathlib import Path

LARGEST = 2**20

if __name__ == "__main__":
    large = [name for name in sys.argv[1:] if Path(name).stat().st_size > LARGEST and "reidlib/weights/" not in name]
    for name in large:
        print(f"{name}: {Path(name).stat().st_size / LARGEST:.1f} MB; files over 1 MB stay out of the repository")
    sys.exit(bool(large))
