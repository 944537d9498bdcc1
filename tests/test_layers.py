"""A package imports those to its left, never those to its right; nothing heavy loads early."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LAYERS = [
    "geometry", "schemas", "formats", "lake", "encoders", "mining", "generation", "simulation", "cli",
]  # fmt: skip
ROOT = Path(__file__).parent.parent


def imported_packages(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("layer", LAYERS)
def test_a_package_imports_only_those_below_it(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :]) | {"tests", "benchmarks"}
    modules = sorted((ROOT / layer).rglob("*.py"))
    assert modules
    upward = {str(path): imported_packages(path) & above for path in modules}
    assert not {path: names for path, names in upward.items() if names}


def test_the_layer_test_would_notice(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def f():\n    from cli.app import main\n")
    assert "cli" in imported_packages(tmp_path / "bad.py")


def loaded_after(code: str) -> set[str]:
    listing = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules, file=sys.stderr)"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    ).stderr  # fmt: skip
    return set(listing.split())


def test_help_loads_no_heavy_library() -> None:
    loaded = loaded_after("from cli.app import app")
    heavy = {"torch", "lancedb", "pandas", "lance", "pyarrow", "sklearn", "matplotlib", "scipy"}
    assert not loaded & heavy


def test_importing_the_lake_loads_no_learning_library() -> None:
    loaded = loaded_after("import lake")
    assert "lake" in loaded
    assert not loaded & {"torch", "lancedb", "pandas", "open_clip", "sklearn", "matplotlib"}
