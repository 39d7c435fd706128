"""What a bare installation has is enough: the package imports nothing that only its checks are installed with."""

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
IMPORTED_AS = {"scikit-image": "skimage"}


def test_nothing_is_imported_that_only_the_checks_need():
    table = re.search(r"^test = \[(.*?)^\]", (REPOSITORY / "backend/pyproject.toml").read_text("utf-8"), re.M | re.S)
    assert table
    names = re.findall(r'"([A-Za-z0-9-]+)', table[1])
    assert "pytest" in names
    of_checks = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}
    found = {
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for path in (REPOSITORY / "backend/emo_avatar").rglob("*.py")
        for module in _imported(path)
        if module in of_checks
    }
    assert not found


def _imported(path: Path) -> set[str]:
    """First parts of the names of the modules that a file imports, wherever in it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.split(".")[0])
    return modules
