"""Programs that try to be marked correct without solving the problem, or to break the reader of their answers."""

from tests.helpers.hostile.lines import SECRET, contained, refused

ANSWER = "assert f(1) == 42"
ANSWERS = (
  refused(
    "__eq__ spoof",
    "class Any:\n  def __eq__(self, other): return True\n  def __hash__(self): return 42\ndef f(x):\n  return Any()\n",
    "not plain data",
  ),
  refused(
    "int subclass",
    "class N(int):\n  def __eq__(self, other): return True\n  __hash__ = int.__hash__\ndef f(x):\n  return N(7)\n",
    "another value",
  ),
  refused(
    "str and list subclasses inside a list",
    "class S(str):\n  def __eq__(self, other): return True\n  __hash__ = str.__hash__\n"
    "class L(list):\n  def __eq__(self, other): return True\n  def __iter__(self): return iter(['a'])\n"
    "def f(x):\n  return [S('b')] if x else L(['b'])\n",
    "another value",
    "assert f(1) == ['a']",
    "assert f(0) == ['a']",
  ),
  refused(
    "repr spoof",
    "class R:\n  def __repr__(self): return '42'\n  __str__ = __repr__\ndef f(x): return R()\n",
    "plain data",
  ),
  refused(
    "metaclass spoof",
    "class M(type):\n  def __eq__(self, other): return True\n  def __hash__(self): return hash(int)\n"
    "  __module__ = 'builtins'\nclass N(metaclass=M):\n  pass\ndef f(x): return N()\n",
    "not plain data",
  ),
  refused(
    "a dict that grows as it is read",
    "class D(dict):\n  def items(self):\n    while True: yield 1, 2\ndef f(x): return D(a=1)\n",
    "another value",
  ),
  refused(
    "frame and gc walks for the expected values",
    """
def f(x):
  import gc
  low, high = 918_000_000, 919_000_000
  pending, seen, frame = [], set(), sys._getframe()
  while frame is not None:
    pending += [frame.f_locals, frame.f_globals]
    frame = frame.f_back
  pending += gc.get_objects() + list(sys.modules.values())
  end = time.monotonic() + 0.2
  while pending and time.monotonic() < end:
    item = pending.pop()
    if id(item) in seen:
      continue
    seen.add(id(item))
    if type(item) is int and low < item < high:
      return item
    if type(item) in (str, bytes) and len(item) < 10_000:
      text = item if type(item) is str else item.decode("latin-1")
      for word in text.replace("(", " ").replace(")", " ").split():
        if word.isdigit() and low < int(word) < high:
          return int(word)
    elif type(item) is dict:
      pending += list(item.values()) + list(item)
    elif type(item) in (list, tuple, set):
      pending += list(item)
    elif hasattr(item, "__dict__"):
      pending.append(vars(item))
  return 0
""",
    "another value",
    f"assert f(1) == {SECRET}",
  ),
  refused("sys.exit(0) before the answer", "sys.exit(0)\n", "SystemExit"),
  refused("os._exit(0) before the answer", "os._exit(0)\n", "no value"),
  refused("os._exit(0) in the call", "def f(x):\n  os._exit(0)\n", "no value"),
  refused("sys.exit(0) of a script", "sys.exit(0)\n", "another output", ("1", "42")),
  refused(
    "printing a fake verdict",
    """
lines = ['[0, "value", true]', '[0, "passed", 1]', '{"correct": 1}', '{"end": "exit", "code": 0}', "PASSED", "1"]
for number in range(1, 8):
  try: os.write(number, ("\\n".join(lines) + "\\n").encode())
  except OSError: pass
os._exit(0)
""",
    "another value",
  ),
  refused(
    "a fake verdict in frames",
    """
import json
header = json.dumps({"id": 0, "outcomes": [{"end": "exit", "code": 0, "results": 0, "stdout": 0}]}).encode()
for number in range(0, 12):
  try: os.write(number, struct.pack(">II", len(header), 0) + header)
  except OSError: pass
os._exit(0)
""",
    "",
  ),
  refused(
    "patched builtins, json, time",
    """
import builtins, json, math, operator
json.dumps = lambda *a, **k: "42"
json.loads = lambda *a, **k: 42
time.time = time.monotonic = lambda: 0.0
for module in list(sys.modules.values()):
  for name in ("dumps", "encode", "equal", "passes", "decode"):
    if hasattr(module, name):
      try: setattr(module, name, lambda *a, **k: "42")
      except Exception: pass
builtins.len = builtins.type = builtins.isinstance = lambda *a: True
builtins.all = lambda *a: True
def f(x): return 7
""",
    "",
    "assert f(1) == 42",
    "assert f(2) == [1, 2]",
  ),
  refused(
    "patched time does not stretch the limit",
    "time.sleep = lambda s: None\ntime.monotonic = time.time = lambda: 0\ndef f(x):\n  while True: pass\n",
    "took too long",
  ),
  refused(
    "NaN",
    "def f(x):\n  return float('nan')\n",
    "NaN",
    "assert f(1) == 42.0",
    "assert abs(f(1) - 42) < 1e-6",
    "assert not f(1) > 50",
    "assert f(1) != 0",
    "assert math.isclose(f(1), 42)",
  ),
  refused("infinity", "def f(x):\n  return float('inf')\n", "another value", "assert f(1) == 42.0", "assert f(2) < 9"),
  refused("giant text", "def f(x):\n  return 'x' * (200 << 20)\n", ""),
  refused("giant integer", "def f(x):\n  return 1 << (1 << 26)\n", ""),
  refused(
    "deep nesting",
    "def f(x):\n  a = []\n  for _ in range(100_000): a = [a]\n  return a\n",
    "nested too deep or too large",
  ),
  refused("a list that holds itself", "def f(x):\n  a = []\n  a.append(a)\n  return a\n", "nested too deep"),
  refused(
    "endless iterator",
    "import itertools\ndef f(x):\n  return (i for i in itertools.count())\n",
    "",
    "assert list(f(1)) == [1]",
  ),
  contained(
    "symlinks in the tmpfs",
    """
def f(host):
  found = []
  for number, path in enumerate(host["paths"]):
    try: os.symlink(path, f"srpo-hostile-link-{number}")
    except OSError: continue
    try: found += [path] if (os.listdir if path.endswith("/") else open)(f"srpo-hostile-link-{number}") else []
    except OSError: pass
  return found
""",
  ),
  refused(
    "FIFO in the tmpfs",
    "def f(x):\n  try: os.mkfifo('srpo-hostile-fifo')\n  except OSError: time.sleep(60)\n"
    "  open('srpo-hostile-fifo').read()\n  return 42\n",
    "took too long",
  ),
  refused(
    "right the first time, wrong the second",
    "seen = set()\ndef f(x):\n  if x in seen: return 0\n  seen.add(x)\n  return 42\n",
    "1 of 2 tests",
    ANSWER,
    ANSWER,
  ),
  refused(
    "wrong the first time, right the second",
    "seen = set()\ndef f(x):\n  if x in seen: return 42\n  seen.add(x)\n  return 0\n",
    "1 of 2 tests",
    ANSWER,
    ANSWER,
  ),
)
