"""What keeps the house liveable; the layers are import-linter's (``uv run lint-imports``)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "qpbridge"
LINES_MAX = {"qpbridge": 400, "tests": 450, "benchmarks": 400, "examples": 400}
MODULES_MAX = 10
GENERATED = PACKAGE / "v1"
HEAVY = {
    *("torch", "numpy", "shapely", "openslide", "tifffile", "cv2", "numba", "rasterio", "skimage", "matplotlib"),
    *("tiatoolbox", "paquo", "jpype", "timm", "sklearn", "scipy", "SimpleITK", "tensorboard", "pandas"),
}
HELP = "import qpbridge.__main__ as entry\nsys.argv[1:] = {}\ntry: entry.main()\nexcept SystemExit: pass"


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted((ROOT / folder).rglob("*.py")) if path.parent != GENERATED)


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def has_functions(path: Path) -> bool:
    return any(isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse(path.read_text())))


def modules_loaded_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(answer.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        "import qpbridge",
        "import qpbridge.__main__",
        "import qpbridge.client",
        "import qpbridge.service.running",
        HELP.format(["--help"]),
        HELP.format(["train", "--help"]),
    ],
)
def test_starting_and_asking_for_help_load_no_heavy_library(statement: str) -> None:
    assert modules_loaded_by(statement).isdisjoint(HEAVY)


@pytest.mark.parametrize("room", ["core", "slides", "qupath", "vector"])
def test_torch_begins_at_the_models(room: str) -> None:
    imported = {name for path in (PACKAGE / room).rglob("*.py") for name in imports_of(path)}

    assert "numpy" in imported
    assert "torch" not in imported


def test_no_file_is_too_long_to_read() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for folder, most in LINES_MAX.items()
        for path in sources(folder)
        if (count := len(path.read_text().splitlines())) > most
    }

    assert long == {}


def test_no_room_has_more_than_ten_modules() -> None:
    rooms = {path.parent for path in sources("qpbridge")} - {PACKAGE}
    full = {
        str(room.relative_to(ROOT)): count
        for room in rooms
        if (count := len([path for path in room.glob("*.py") if path.name != "__init__.py"])) > MODULES_MAX
    }

    assert full == {}


def test_every_module_with_a_function_has_its_tests_in_the_place_that_mirrors_it() -> None:
    modules = [
        path.relative_to(PACKAGE)
        for path in sources("qpbridge")
        if not path.name.startswith("__") and has_functions(path)
    ]
    missing = [str(one) for one in modules if not (ROOT / "tests/unit" / one.with_name(f"test_{one.name}")).is_file()]

    assert missing == []


def test_every_unit_test_file_mirrors_a_module() -> None:
    own = {Path("test_house.py")}
    tests = [path.relative_to(ROOT / "tests/unit") for path in sources("tests/unit") if path.name.startswith("test_")]
    stray = [
        str(one)
        for one in tests
        if one not in own and not (PACKAGE / one.with_name(one.name.removeprefix("test_"))).is_file()
    ]

    assert stray == []
