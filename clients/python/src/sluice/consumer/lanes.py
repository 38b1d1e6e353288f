"""Selects the next message to handle, in the order of the subscription."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable

from ..v1 import ORDERING_KEY, ORDERING_NONE, ORDERING_PARTITION, Ordering
from .delivery import Delivery
from .lane import Lane

FREE = None
"""The name of the lane of messages that keep no order."""


class Lanes:
    """
    All lanes of a consumer, across its sessions: a busy lane stays busy when the session ends, until its handler
    returns.
    """

    def __init__(self) -> None:
        self._lanes: dict[Hashable, Lane[Delivery]] = {}
        self._ready: deque[Lane[Delivery]] = deque()
        self.ordering: Ordering = ORDERING_PARTITION

    def put(self, partition: int, deliveries: Iterable[Delivery]) -> None:
        """Queues messages of one partition, in order."""
        if self.ordering == ORDERING_KEY:
            for delivery in deliveries:
                key = delivery.key
                lane = self._lane((partition, key)) if key else self._lane(FREE)
                delivery.lane = lane
                lane.queue.append(delivery)
                if not lane.is_ready:
                    self._make_ready(lane)
            return
        lane = self._lane(FREE if self.ordering == ORDERING_NONE else partition)
        for delivery in deliveries:
            delivery.lane = lane
        lane.queue.extend(deliveries)
        self._make_ready(lane)

    def _lane(self, name: Hashable) -> Lane[Delivery]:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, name is not FREE)
        return lane

    def _make_ready(self, lane: Lane[Delivery]) -> None:
        if not (lane.is_ready or lane.is_busy or lane.pause_count) and lane.queue:
            lane.is_ready = True
            self._ready.append(lane)

    @property
    def ready_count(self) -> int:
        """About how many handlers could begin now."""
        free = self._lanes.get(FREE)
        return len(self._ready) + (len(free.queue) - 1 if free is not None and free.is_ready else 0)

    def take(self) -> Lane[Delivery] | None:
        """The lane whose turn it is. It is busy until it is released, unless it has no order."""
        while self._ready:
            lane = self._ready.popleft()
            if not lane.queue:
                self._forget(lane)
            elif lane.is_exclusive:
                lane.is_ready = False
                lane.is_busy = True
                return lane
            else:
                self._ready.append(lane)
                return lane
        return None

    def release(self, lane: Lane[Delivery]) -> None:
        """The handler of the lane has ended: the lane goes behind the other lanes."""
        lane.is_busy = False
        if lane.queue:
            self._make_ready(lane)
        elif lane.is_exclusive:
            self._forget(lane)

    def pause(self, lane: Lane[Delivery]) -> Lane[Delivery]:
        """Stops a lane until `resume` is called with the returned lane. The given lane may have been removed."""
        if not lane.is_exclusive:
            return lane
        lane = self._lane(lane.name)
        lane.pause_count += 1
        if lane.is_ready:
            lane.is_ready = False
            self._ready.remove(lane)
        return lane

    def resume(self, lane: Lane[Delivery]) -> None:
        if not lane.is_exclusive:
            return
        lane.pause_count -= 1
        self._make_ready(lane)
        self._forget(lane)

    def clear(self) -> None:
        """Drops all queued messages. Busy lanes stay busy."""
        for lane in self._lanes.values():
            lane.queue.clear()
            lane.is_ready = False
        self._ready.clear()
        for lane in list(self._lanes.values()):
            self._forget(lane)

    def _forget(self, lane: Lane[Delivery]) -> None:
        """Removes a lane that is not in use, because there can be millions of keys."""
        if lane.queue:
            return
        lane.is_ready = False
        if not (lane.is_busy or lane.pause_count):
            self._lanes.pop(lane.name, None)
