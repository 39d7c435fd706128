"""What every test here obeys: the same examples on every machine, and no example fails for being slow.

`HYPOTHESIS_PROFILE=search` draws others on every run, and ten times as many, to look for defects.
"""

import importlib.util
import os

if importlib.util.find_spec("hypothesis"):  # Blender's Python does without it
    from hypothesis import HealthCheck, settings

    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
    settings.register_profile("same", patient, derandomize=True)
    settings.register_profile("search", patient, max_examples=1000)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
