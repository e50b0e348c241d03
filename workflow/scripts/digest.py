"""Print one checksum a record, so that a page depends on one short file instead of on each of them.

python workflow/scripts/digest.py results > build/records.sha256
"""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path

RECORDS = (".json", ".csv", ".npz")


def lines(folder: Path) -> list[str]:
    """Return ``checksum  path`` for each record below a folder, ordered by path."""
    found = sorted(p for p in folder.rglob("*") if p.suffix in RECORDS and p.name[0] != ".")
    return [f"{sha256(path.read_bytes()).hexdigest()}  {path.as_posix()}" for path in found]


if __name__ == "__main__":
    print("\n".join(lines(Path(sys.argv[1]))))
