"""DistbpClassifier against scikit-learn's MLPClassifier with the same settings: accuracy and seconds of fit.

Prints one line per data set: medians over three seeds, taken in turns, and the ratio of times.
"""

import argparse
import csv
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
from contestants import default_data
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import distbp
from distbp.sklearn import DistbpClassifier

NUMBERS = [0, 2, 4, 10, 11, 12]
WORDS = [1, 3, 5, 6, 7, 8, 9, 13]


def adult_rows(folder):
    """Return the raw training and test rows of Adult, and their labels."""
    parts = []
    for name in ("adult.data", "adult.test"):
        with (folder / "adult" / name).open() as file:
            rows = [row for row in csv.reader(file, skipinitialspace=True) if len(row) == 15]
        parts += [np.array([row[:14] for row in rows], object), np.array([row[14].rstrip(".") for row in rows])]
    return parts


def adult_encoder():
    """Return the transformer that turns Adult's rows into numbers."""
    return make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS)
    )


def data(name, folder):
    """Return x and y for training, then x and y for testing."""
    if name == "digits":
        x, y = load_digits(return_X_y=True)
        x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.2, random_state=0, stratify=y)
        return x_train, y_train, x_test, y_test
    if name == "mnist":
        mnist = distbp.load(folder / "mnist")
        parts = [(part.x.astype(np.float32) / 255, part.y) for part in (mnist.train, mnist.test)]
        return *parts[0], *parts[1]
    x_train, y_train, x_test, y_test = adult_rows(folder)
    encoder = adult_encoder().fit(x_train)
    return encoder.transform(x_train).astype(float), y_train, encoder.transform(x_test).astype(float), y_test


def main():
    """Run the chosen cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data().parent)
    parser.add_argument("--cases", nargs="+", default=["digits:60", "mnist:5", "adult:10"], help="data:epochs")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for case in arguments.cases:
        name, epochs = case.split(":")
        x, y, x_test, y_test = data(name, arguments.data)
        seconds = {"theirs": [], "ours": []}
        scores = {"theirs": [], "ours": []}
        for seed in range(arguments.repeats):
            for side, make in (("theirs", MLPClassifier), ("ours", DistbpClassifier)):
                estimator = make(max_iter=int(epochs), tol=0, n_iter_no_change=1000, random_state=seed)
                began = time.perf_counter()
                estimator.fit(x, y)
                seconds[side].append(time.perf_counter() - began)
                scores[side].append(estimator.score(x_test, y_test))
        times = {side: statistics.median(values) for side, values in seconds.items()}
        right = {
            side: f"{statistics.median(values):.4f} ({min(values):.4f}..{max(values):.4f})"
            for side, values in scores.items()
        }
        print(
            f"{name}, {len(x)} rows, {epochs} epochs: accuracy theirs {right['theirs']}, ours {right['ours']}; seconds "
            f"{times['theirs']:.2f}, {times['ours']:.2f}: ratio {times['theirs'] / times['ours']:.2f}"
        )


if __name__ == "__main__":
    main()
