"""A backend's process ends with the one that started it, however that ends."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from emo_avatar_addon.errors import AddonError
from emo_avatar_addon.link.process import BackendProcess, exit_reason

ROOT = Path(__file__).parents[3]

BLENDER = """
import sys, time
sys.path.insert(0, {root!r})
from emo_avatar_addon.link.process import BackendProcess
backends = [BackendProcess([sys.executable, "-m", "emo_avatar", "serve"]) for _ in range(2)]
for backend in backends:
    backend.greeting(120.0)
print(*(backend._child.pid for backend in backends), flush=True)
time.sleep(600)
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_a_killed_blender_leaves_no_backend(fake):
    """Two of them: neither may hold the other's standard input open."""
    environment = fake().environment()
    blender = subprocess.Popen(
        [sys.executable, "-c", BLENDER.format(root=str(ROOT))], env=environment, stdout=subprocess.PIPE
    )
    pids = [int(pid) for pid in blender.stdout.readline().split()]
    assert len(pids) == 2 and all(map(is_running, pids))
    os.kill(blender.pid, signal.SIGKILL)
    blender.communicate()
    end = time.monotonic() + 60.0
    while any(map(is_running, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def test_giving_up_waits_no_longer(fake):
    backend = BackendProcess(fake("says nothing").command(), fake("says nothing").environment())
    begun = time.monotonic()
    with pytest.raises(AddonError, match="said nothing"):
        backend.greeting(600.0, given_up=lambda: time.monotonic() > begun + 0.2)
    backend.kill()
    assert time.monotonic() - begun < 60.0 and backend.exit_code is not None


@pytest.mark.parametrize(
    ("code", "said"),
    [(3, "exit code 3"), (-9, "killed, perhaps because memory ran out"), (-11, "SIGSEGV"), (None, "runs")],
)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")
def test_exit_codes_in_words(code, said):
    assert re.search(said, exit_reason(code))
