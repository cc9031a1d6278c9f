"""A small study, and what its folder holds."""

from __future__ import annotations

import json

__all__ = ["STUDY", "rows_of", "summary_of"]

STUDY = """
[study]
name = "Bits & <noise>"
seed = 3
[[models.family]]
kind = "sk"
n = 10
count = 4
[machine]
device = "emulator-mean-field"
[factors]
coupling_bits = [2, 8]
round_trips = [40, 200]
[repeat]
runs = 8
"""


def rows_of(folder):
    lines = (folder / "rows.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        del row["device_s"]
    return sorted(rows, key=lambda row: (str(row["factors"]), row["model"], row["batch"]))


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())
