"""Train a random forest on the wine data and say how good it is. Runs as it is in any image with scikit-learn."""

import argparse
import csv
import json
import os
from pathlib import Path

import joblib
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split


def read_params() -> dict[str, int]:
    """The config's `model_params`, as the task manager hands them over."""
    path = os.environ.get("MLTM_PARAMS")
    params: dict[str, int] = json.loads(Path(path).read_text()) if path else {}
    return params


def main() -> None:
    """Train, measure, write metrics.json and model.joblib."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--input_path", type=Path, required=True)
    parser.add_argument("--output_path", type=Path, required=True)
    arguments = parser.parse_args()
    with arguments.input_path.open(newline="") as file:
        _, *rows = list(csv.reader(file))
    features = [[float(value) for value in row[:-1]] for row in rows]
    classes = [row[-1] for row in rows]
    print(f"read {len(rows)} wines with {len(features[0])} features", flush=True)
    params = read_params()
    train_x, test_x, train_y, test_y = train_test_split(features, classes, test_size=0.25, random_state=42)
    model = RandomForestClassifier(**params).fit(train_x, train_y)
    accuracy = accuracy_score(test_y, model.predict(test_x))
    print(f"trained a random forest with {params}: accuracy {accuracy:.3f}", flush=True)
    metrics = {"accuracy": accuracy, "train_rows": len(train_x), "test_rows": len(test_x)}
    (arguments.output_path / "metrics.json").write_text(json.dumps(metrics))
    joblib.dump(model, arguments.output_path / "model.joblib")


if __name__ == "__main__":
    main()
