"""Builds the wheel without any other package, so that it installs where there is no network."""

import os
import sys
import time
import zipfile
from pathlib import Path

INFO = "emo_avatar-0.1.0.dist-info"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    mode = os.environ.get("FAKE_BUILD", "")
    if mode == "full disk":
        sys.exit("OSError: [Errno 28] No space left on device")
    if mode == "slow":
        time.sleep(600)
    name = "emo_avatar-0.1.0-py3-none-any.whl"
    files = {f"emo_avatar/{path.name}": path.read_text() for path in Path("emo_avatar").glob("*.py")}
    files[f"{INFO}/METADATA"] = "Metadata-Version: 2.1\nName: emo-avatar\nVersion: 0.1.0\nProvides-Extra: cuda\n"
    files[f"{INFO}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{file},,\n" for file in (*files, f"{INFO}/RECORD"))
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for file, text in {**files, f"{INFO}/RECORD": record}.items():
            wheel.writestr(file, text)
    return name
