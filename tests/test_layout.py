"""Rules for the layout of the repository: which module may import which, and how long files and functions may be.

The rules are checked on the source with `ast`, so imports inside functions and under TYPE_CHECKING count.
"""

import ast
import functools
import graphlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "srpo_jax"
COMMANDS = (
  "curate",
  "doctor",
  "evaluate",
  "export",
  "launch",
  "logprobs",
  "plan",
  "replay",
  "report",
  "score",
  "serve",
)
TOP_LEVEL = {f"{name}.py" for name in (*COMMANDS, "config", "types", "__init__")}
FOLDERS = (PACKAGE, "configs", "benchmarks", "notebooks", "tests", "tools")
FILE_LINES, COMMAND_LINES, FUNCTION_LINES = 450, 80, 60


@functools.cache
def parse(file: Path) -> ast.Module:
  return ast.parse(file.read_text(encoding="utf-8"), str(file))


@functools.cache
def modules() -> dict[str, Path]:
  """Returns {dotted name: file} of the package's modules."""
  files = sorted((ROOT / PACKAGE).rglob("*.py"))
  return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imported(node: ast.AST, module: str) -> Iterator[str]:
  """Yields the dotted names that a statement or a call of import_module imports."""
  if isinstance(node, ast.Import):
    yield from (alias.name for alias in node.names)
  elif isinstance(node, ast.ImportFrom):
    here = module.split(".") if modules()[module].name == "__init__.py" else module.split(".")[:-1]
    base = here[: len(here) + 1 - node.level] if node.level else []
    source = ".".join([*base, *([node.module] if node.module else [])])
    yield from (f"{source}.{alias.name}" for alias in node.names)
  elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
    yield from (str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant))


@functools.cache
def imports(module: str) -> dict[str, int]:
  """Returns {imported name: line} of a module. A name inside the package is cut to the module that it lies in."""
  found: dict[str, int] = {}
  for node in ast.walk(parse(modules()[module])):
    for name in imported(node, module):
      while name.startswith(f"{PACKAGE}.") and name not in modules():
        name = name.rpartition(".")[0]
      found.setdefault(name, getattr(node, "lineno", 0))
  return found


def within(name: str, *packages: str) -> bool:
  return any(name == package or name.startswith(f"{package}.") for package in packages)


def where(module: str, line: int) -> str:
  return f"{modules()[module].relative_to(ROOT)}:{line}"


def offences(importers: Iterable[str], *targets: str, allowed: Iterable[str] = ()) -> list[str]:
  """Returns the imports of `targets` by the `importers`, each with its place. Skips `allowed` ones."""
  return [
    f"{where(module, line)} imports {name}"
    for module in importers
    for name, line in imports(module).items()
    if within(name, *targets) and not within(name, *allowed)
  ]


def inside(package: str) -> list[str]:
  found = [module for module in modules() if within(module, f"{PACKAGE}.{package}")]
  assert found, f"no package {PACKAGE}.{package}"
  return found


def python_files() -> list[Path]:
  return [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]


def too_long(files: Iterable[Path], limit: int) -> list[str]:
  sizes = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
  return [f"{file.relative_to(ROOT)}: {n} lines, at most {limit}" for file, n in sizes.items() if n > limit]


def test_top_level_holds_only_the_commands_config_and_types():
  found = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_file()}
  assert found == TOP_LEVEL, f"unexpected: {sorted(found - TOP_LEVEL)}, missing: {sorted(TOP_LEVEL - found)}"


def test_no_import_cycle():
  try:
    graphlib.TopologicalSorter({module: set(imports(module)) - {module} for module in modules()}).prepare()
  except graphlib.CycleError as error:
    pytest.fail(f"import cycle: {' -> '.join(reversed(error.args[1]))}")


def test_no_library_module_imports_a_command():
  commands = [f"{PACKAGE}.{name}" for name in COMMANDS]
  found = offences((module for module in modules() if module not in commands), *commands)
  assert not found, "\n".join(found)


def test_algorithm_imports_only_arrays_and_types():
  allowed = (f"{PACKAGE}.algorithm", f"{PACKAGE}.types", "jax", "numpy", "jaxtyping", *sys.stdlib_module_names)
  found = [
    f"{where(module, line)} imports {name}"
    for module in inside("algorithm")
    for name, line in imports(module).items()
    if not within(name, *allowed)
  ]
  assert not found, "\n".join(found)


def test_utils_imports_no_other_part_of_the_package():
  found = offences(inside("utils"), PACKAGE, allowed=[f"{PACKAGE}.utils"])
  assert not found, "\n".join(found)


def test_jetstream_is_imported_only_by_its_engine_and_by_serving():
  mine = (f"{PACKAGE}.rollout.jetstream_engine", f"{PACKAGE}.serving")
  assert offences([module for module in modules() if within(module, *mine)], "jetstream")
  found = offences((module for module in modules() if not within(module, *mine)), "jetstream")
  assert not found, "\n".join(found)


def test_the_package_imports_no_recipe_test_or_tool():
  found = offences(modules(), *(folder for folder in FOLDERS if folder != PACKAGE))
  assert not found, "\n".join(found)


def test_no_file_is_too_long():
  found = too_long(python_files(), FILE_LINES)
  assert not found, "\n".join(found)


def test_no_command_is_too_long():
  found = too_long((ROOT / PACKAGE / f"{name}.py" for name in COMMANDS), COMMAND_LINES)
  assert not found, "\n".join(found)


def test_no_function_is_too_long():
  found = [
    f"{file.relative_to(ROOT)}:{node.lineno}: {node.name} has {n} lines, at most {FUNCTION_LINES}"
    for file in python_files()
    for node in ast.walk(parse(file))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    and (n := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
  ]
  assert not found, "\n".join(found)
