"""Write scikit-learn's own wine data as the CSV that the example reads: make_dataset.py TARGET."""

import csv
import sys
from pathlib import Path

from sklearn.datasets import load_wine


def main() -> None:
    """Write the file, whole or not at all."""
    target = Path(sys.argv[1])
    wine = load_wine()
    building = target.with_suffix(".part")
    with building.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*wine.feature_names, "class"])
        writer.writerows(
            [*features, wine.target_names[kind]] for features, kind in zip(wine.data, wine.target, strict=True)
        )
    building.replace(target)


if __name__ == "__main__":
    main()
