"""What may be acknowledged: the part at the front that is safely behind."""

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefix(Generic[T]):
    """Items under way, in order of receipt; each is known by the receipt it was given.

    Items finish in any order but leave in the order they came: an item leaves when it
    and all before it are finished.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._first = 0
        self._finished: set[int] = set()

    def __len__(self) -> int:
        """Count the items under way."""
        return len(self._items)

    def begin(self, item: T) -> int:
        """Take one more; give its receipt."""
        self._items.append(item)
        return self._first + len(self._items) - 1

    def finish(self, receipts: Iterable[int]) -> list[T]:
        """Mark these finished; give the items that leave with that, in order.

        Receipts from before ``forget`` are passed over.
        """
        self._finished.update(receipt for receipt in receipts if receipt >= self._first)
        leaving = []
        while self._items and self._first in self._finished:
            self._finished.remove(self._first)
            leaving.append(self._items.popleft())
            self._first += 1
        return leaving

    def forget(self) -> None:
        """Drop all that is under way: its connection is gone and it will come again."""
        self._first += len(self._items)
        self._items.clear()
        self._finished.clear()
