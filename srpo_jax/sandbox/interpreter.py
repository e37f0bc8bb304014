"""Files that a running interpreter needs, and modules that a zygote loads before any program runs."""

import contextlib
import dataclasses
import importlib
import importlib.util
import os
import random
import stat
import sys
import sysconfig
from pathlib import Path

# Modules that competitive programs commonly import. A zygote loads them once, so that its children need no file for
# them. Python 3.12 and later convert long integers with `_pylong`.
USUAL_MODULES = (
  "__future__", "_pylong", "abc", "array", "ast", "base64", "bisect", "calendar", "cmath", "collections",
  "collections.abc", "concurrent.futures.thread", "contextlib", "copy", "dataclasses", "datetime", "decimal", "difflib",
  "encodings.ascii", "encodings.latin_1", "enum", "fileinput", "fractions", "functools", "hashlib", "heapq", "inspect",
  "io", "itertools", "json", "logging", "math", "mmap", "numbers", "operator", "os", "os.path", "pickle", "pprint",
  "queue", "random", "re", "statistics", "string", "struct", "sys", "textwrap", "threading", "time", "traceback",
  "types", "typing", "unicodedata", "uuid", "zlib",
)  # fmt: skip

# Flags of an interpreter that programs run in. It has only the variables that it is given, and needs HASH_SEED among
# them, so that sets and dicts of texts have the same order in every sandbox.
FLAGS = ("-P", "-s", "-S", "-B")
HASH_SEED = ("PYTHONHASHSEED", "0")


@dataclasses.dataclass(frozen=True)
class Paths:
  """Folders and files that a program may read."""

  executable: str
  library: tuple[str, ...]  # standard library
  system: tuple[str, ...]  # shared libraries, including the interpreter's own
  packages: tuple[str, ...]  # folders of the packages that the config allows
  hidden: tuple[str, ...]  # folders inside `library` to hide: other packages and CPython's own tests

  def readable(self) -> tuple[str, ...]:
    return (*self.library, *self.system, *self.packages)

  def open_to_all(self) -> bool:
    """Returns True if every user may read these paths. An interpreter in a home folder may be private to its owner."""
    return all(_open_to_all(path) for path in (*self.readable(), self.executable))


def paths(packages: tuple[str, ...]) -> Paths:
  """Returns the paths of this interpreter. `packages` lists the folders of the allowed packages."""
  base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}  # a virtual environment has no standard library
  base |= {"installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix}
  library = _existing(*(sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")))
  multiarch = sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu"
  names = (f"/lib/{multiarch}", f"/usr/lib/{multiarch}", "/lib64", "/usr/lib64", "/etc/ld.so.cache")
  hidden = [os.path.join(folder, name) for folder in library for name in ("site-packages", "dist-packages", "test")]
  return Paths(
    executable=os.path.realpath(sys.executable),
    library=library,
    system=_existing(*names, *_shared_interpreter()),
    packages=packages,
    hidden=tuple(folder for folder in hidden if os.path.isdir(folder)),
  )


def _open_to_all(path: str) -> bool:
  names = [Path(path), *Path(path).resolve().parents]
  return bool(names[0].stat().st_mode & stat.S_IROTH) and all(name.stat().st_mode & stat.S_IXOTH for name in names[1:])


def _shared_interpreter() -> list[str]:
  folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
  return [os.path.join(folder, name)] if folder and name and str(name).startswith("lib") else []


def _existing(*names: str | None) -> tuple[str, ...]:
  return tuple(dict.fromkeys(name for name in names if name and os.path.exists(name)))


def package_folders(names: tuple[str, ...]) -> tuple[str, ...]:
  """Returns the folders of importable packages and of the shared libraries that are installed beside them.

  Raises:
    ModuleNotFoundError: A package is not installed.
  """
  folders: list[str] = []
  for name in names:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
      raise ModuleNotFoundError(name)
    folder = Path(spec.submodule_search_locations[0])
    folders += [str(path) for path in (folder, folder.with_name(f"{name}.libs")) if path.is_dir()]
  return tuple(folders)


def preload(packages: tuple[str, ...]) -> None:
  """Loads the usual modules and the allowed packages into this process."""
  for name in USUAL_MODULES:
    with contextlib.suppress(ImportError):  # a minimal build may lack one; only programs that import it then fail
      importlib.import_module(name)
  for folder in packages:
    if not folder.endswith(".libs"):
      parent, name = os.path.split(folder)
      if parent not in sys.path:
        sys.path.append(parent)
      load(name)


def load(package: str) -> None:
  """Imports a package, and of NumPy also the part with its random generator, which `seed` needs."""
  importlib.import_module(package)
  if package == "numpy":
    importlib.import_module("numpy.random")


def seed() -> None:
  """Seeds the shared random generators, so that a program draws the same numbers in every execution."""
  random.seed(0)
  numpy = sys.modules.get("numpy")
  if numpy is not None:
    numpy.random.seed(0)
