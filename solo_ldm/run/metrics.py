"""The default logger: metrics.csv, one row an epoch, continued when a run is."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers.logger import Logger

from solo_ldm.files import write_atomically


class MetricsCSV(Logger):
    """Keeps one row per epoch and rewrites the file as a whole, so that it is never torn.

    Args:
        path: the CSV file; rows already in it are kept by `keep_before`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, dict[str, float]] = {}
        self._failed = False

    @property
    def name(self) -> str:
        """Lightning asks for a name."""
        return "csv"

    @property
    def version(self) -> str:
        """The run id."""
        return self.path.parent.name

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: args.json holds the configuration."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the row of the epoch that the metrics name."""
        epoch = int(metrics.get("epoch", -1))
        if epoch < 0:
            return
        row = self.rows.setdefault(epoch, {"epoch": epoch})
        row.update({key: float(value) for key, value in metrics.items() if key != "epoch"})
        if step is not None:
            row["step"] = step

    @rank_zero_only
    def save(self) -> None:
        """Write all rows, if the run's folder is still there.

        Columns are in the order of their first appearance. A file that cannot be written is warned
        of once.
        """
        if not self.rows or not self.path.parent.is_dir():
            return
        columns = list(dict.fromkeys(key for row in self.rows.values() for key in row))

        def write(path: Path) -> None:
            with path.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, columns)
                writer.writeheader()
                writer.writerows(self.rows[epoch] for epoch in sorted(self.rows))

        try:
            write_atomically(self.path, write)
        except OSError as error:
            if not self._failed:
                self._failed = True
                warnings.warn(f"{self.path} cannot be written: {error}", stacklevel=2)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()

    def keep_before(self, epoch: int) -> list[str]:
        """Read the rows of an interrupted run that come before the epoch it continues from.

        Returns:
            A line that counts the rows that are missing, if some are: training goes on without.
        """
        if not self.path.exists():
            return []  # the checkpoint of another run
        try:
            lines = self.path.read_text(errors="replace").replace("\0", "").splitlines()
            read = [*csv.DictReader(lines)]
        except (OSError, csv.Error):
            read = []
        for row in read:
            try:
                values = {key: float(value) for key, value in row.items() if value}
                number = int(values["epoch"])
                if "step" in values:
                    values["step"] = int(values["step"])
            except (KeyError, OverflowError, TypeError, ValueError):
                continue  # damaged, or cut off
            if 0 <= number < epoch:
                self.rows[number] = {**values, "epoch": number}
        missing = epoch - len(self.rows)
        if not missing:
            return []
        return [f"{self.path} lacks {missing} of the {epoch} epochs before; they are left out"]

    def column(self, name: str) -> list[float]:
        """Return a metric over epochs, NaN where an epoch has none."""
        return [self.rows[epoch].get(name, float("nan")) for epoch in sorted(self.rows)]
