"""Offsets, gathered into ranges."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]
"""First and last offset, both included."""


def spans_of(offsets: Iterable[int]) -> list[Span]:
    """Ascending, each as long as it can be."""
    spans: list[Span] = []
    first = last = None
    for offset in sorted(offsets):
        if last is not None and offset == last + 1:
            last = offset
            continue
        if first is not None and last is not None:
            spans.append((first, last))
        first = last = offset
    if first is not None and last is not None:
        spans.append((first, last))
    return spans


def joined(spans: Iterable[Span]) -> list[Span]:
    """Ascending; those that touch or overlap are one."""
    result: list[Span] = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


class OffsetGatherer:
    """Offsets of several partitions. Offsets in order extend the last range."""

    def __init__(self) -> None:
        self.count = 0
        self._last: dict[int, list[int]] = {}
        """The range that grows now, of each partition: first and last."""
        self._done: dict[int, list[Span]] = {}

    def add(self, partition: int, offset: int) -> None:
        self.count += 1
        growing = self._last.get(partition)
        if growing is None:
            self._last[partition] = [offset, offset]
        elif growing[1] + 1 == offset:
            growing[1] = offset
        else:
            self._done.setdefault(partition, []).append((growing[0], growing[1]))
            growing[0] = growing[1] = offset

    def remove(self, partition: int, first: int, last: int) -> bool:
        """Removes the offsets of a range. True if there were any."""
        growing = self._last.get(partition)
        if growing is None:
            return False
        kept: list[Span] = []
        removed_count = 0
        for begin, end in [*self._done.get(partition, ()), (growing[0], growing[1])]:
            cut_first, cut_last = max(begin, first), min(end, last)
            if cut_first > cut_last:
                kept.append((begin, end))
                continue
            removed_count += cut_last - cut_first + 1
            if begin < cut_first:
                kept.append((begin, cut_first - 1))
            if cut_last < end:
                kept.append((cut_last + 1, end))
        self.count -= removed_count
        self._done.pop(partition, None)
        if kept:
            self._last[partition] = list(kept.pop())
            self._done[partition] = kept
        else:
            del self._last[partition]
        return removed_count > 0

    def take(self) -> list[tuple[int, int, int]]:
        """Removes and returns all offsets as partition, first and last offset."""
        taken: list[tuple[int, int, int]] = []
        for partition, (first, last) in self._last.items():
            done = self._done.get(partition)
            spans = joined([*done, (first, last)]) if done else [(first, last)]
            taken += [(partition, *span) for span in spans]
        self._last.clear()
        self._done.clear()
        self.count = 0
        return taken
