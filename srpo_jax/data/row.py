"""A raw row of a data set, as a file, the hub or a user's function gives it."""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
