"""What training did, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.text import nearest, number, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class History(Mapping[str, list[float]]):
    """What training did: a list over epochs for `"loss"`, each metric, and `"val_loss"` and so on with validation.

    `"loss"` and the metrics of an epoch are means over its examples, each batch taken before the update that followed
    it; a loss that is a sum is divided by their number, so that sets of any size compare.
    `seconds` is how long it took; `stopped` says why it ended; `engine` whether batches were replayed, or why not.
    """

    columns: dict[str, list[float]] = field(default_factory=dict)
    stopped: str = ""
    seconds: float = 0.0
    best_epoch: int | None = None
    engine: str = ""

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.columns:
            raise KeyError(f"the history has no {name!r}. {nearest(name, self.columns)}")
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def epochs(self) -> int:
        """How many epochs were done."""
        return max(map(len, self.columns.values()), default=0)

    def __str__(self) -> str:
        shown = _spread(self.epochs, 12)
        rows = [[str(epoch + 1), *(number(column[epoch]) for column in self.columns.values())] for epoch in shown]
        body = table(["epoch", *self.columns], rows, justify="r" * (len(self.columns) + 1))
        some = f"{len(shown)} of the {self.epochs} epochs are shown; " if len(shown) < self.epochs else ""
        seconds = f", in {self.seconds:.3g} s" if self.seconds else ""
        why = self.engine.partition(": ")[2]
        return f"{body}\n\n{some}{self.stopped or 'not ended'}{seconds}" + (f"\nnot replayed: {why}" if why else "")

    __repr__ = __str__

    def plot(self) -> Figure:
        """The curves over epochs, losses above and metrics below. Needs matplotlib, from the extra `plots`."""
        from nn.plots import curves

        return curves(self.columns)


def _spread(count: int, most: int) -> list[int]:
    """The numbers below `count`, or `most` of them evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
