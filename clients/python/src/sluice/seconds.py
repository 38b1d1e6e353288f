"""
Times are in seconds, as those of asyncio. Names that end in `_ms` are of the version before: they still count, with a
DeprecationWarning, and the next version does not know them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping


def warn_of_ms(name: str, stack_level: int = 2) -> None:
    """`stack_level` selects the caller that the warning names: 1 calls this function, 2 calls that one, and so on."""
    text = f"{name}_ms is deprecated: give {name}, in seconds"
    warnings.warn(text, DeprecationWarning, stacklevel=stack_level + 1)


def seconds_of(name: str, seconds: float | None, milliseconds: float | None, stack_level: int = 2) -> float | None:
    """An argument of a public function, which may be given in milliseconds still. Warns the caller of that function."""
    if milliseconds is None:
        return seconds
    warn_of_ms(name, stack_level + 1)
    return milliseconds / 1000


def set_seconds(settings: object, given: Mapping[str, float | None], stack_level: int) -> None:
    """Fields of frozen settings that may be given in milliseconds still, by the name of the field."""
    for name, milliseconds in given.items():
        if milliseconds is not None:
            warn_of_ms(name, stack_level + 1)
            object.__setattr__(settings, name, milliseconds / 1000)
