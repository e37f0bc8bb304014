"""Type of a raw row from a file, the hub or a user's function."""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
