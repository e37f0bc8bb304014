"""Sizes rounded up, so that few shapes are compiled."""


def round_up(n: int, multiple: int) -> int:
  """Returns the smallest multiple that is at least n."""
  return -(-n // multiple) * multiple
