"""Puts a script into a function, as LiveCodeBench's harness does. Runs in the child."""

import ast

MODULE, FUNCTION = "tmp_sol", "wrapped_function"
_MAIN = "__name__ == '__main__'"


def in_function(program: str) -> str:
  """Returns a program that defines FUNCTION, whose body is the script without its imports, which come first.

  A last statement `if __name__ == "__main__":` is replaced by its body. A program that cannot be parsed is returned
  unchanged, so that compiling it reports the error.

  Source: `make_function` and `clean_if_name` in lcb_runner/evaluation/testing_util.py of LiveCodeBench, at commit
  28fef95ea8c9f7a547c8329f2cd3d32b92c1fa24.
  """
  try:
    body = ast.parse(program).body
    if body and isinstance(body[-1], ast.If) and ast.unparse(body[-1].test) == _MAIN:
      body[-1:] = body[-1].body
    imports = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
    others: list[ast.stmt] = [node for node in body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    function = ast.FunctionDef(FUNCTION, nothing, others or [ast.Pass()], [])
    return ast.unparse(ast.fix_missing_locations(ast.Module([*imports, function], [])))
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return program
