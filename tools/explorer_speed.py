"""How long the block explorer takes to repaint while its slider is dragged, in a headless browser.

`python -m tools.explorer_speed` draws a 3072 x 768 matrix under several structures, moves the rate 60 times, and writes
book/results/explorer-speed.json: the milliseconds from a movement of the slider until its frame is painted.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from blockprune_lib._common.files import write_json
from blockprune_lib._common.provenance import provenance
from blockprune_lib.machine.passport import hardware

FORMAT = "blockprune explorer speed, version 1"
RESULT = Path(__file__).resolve().parent.parent / "book" / "results" / "explorer-speed.json"
STRUCTURES = ("irregular", "block_row:8", "block_row:64", "block_column:16", "tile:32x32")
MOVES = 60

# A movement is timed from the input event to the first task after the frame in which it was painted.
_DRAG = """async (moves) => {
  const slider = document.querySelector('.bpw input[type=range]'), times = [];
  for (let move = 0; move < moves; move += 1) {
    slider.value = (7 * move) % Number(slider.max);
    const began = performance.now();
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    const worked = await new Promise((done) => requestAnimationFrame(() => {
      const painted = performance.now();
      const channel = new MessageChannel();
      channel.port1.onmessage = () => done([performance.now() - began, document.querySelector('.bpw').repaintMs]);
      channel.port2.postMessage(painted);
    }));
    times.push(worked);
  }
  return times;
}"""


def measure(shape: tuple[int, int] = (3072, 768)) -> list[dict[str, Any]]:
    """Milliseconds of each movement of the slider, under each structure."""
    os.environ["BLOCKPRUNE_STATIC"] = "1"
    import torch
    from playwright.sync_api import sync_playwright
    from torch import nn

    from blockprune_lib.widgets import BlockExplorer

    torch.manual_seed(0)
    explorer = BlockExplorer({"a matrix": nn.Linear(shape[1], shape[0])}, structure="irregular")
    found = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "page.html"
        head = "<!doctype html><html lang='en'><meta charset='utf-8'><title>speed</title><main>"
        page_file.write_text(head + explorer.html())
        path = next((p for p in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(p).exists()), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1000})
        page.goto(page_file.as_uri())
        page.wait_for_function("document.querySelector('.bpw')?.figures")
        for text in STRUCTURES:
            page.evaluate("text => document.querySelector('.bpw-place').explorer.set('structure', text)", text)
            page.wait_for_timeout(1500)
            frames, repaints = zip(*page.evaluate(_DRAG, MOVES), strict=True)
            found.append({"structure": text, "frame_ms": _summary(frames), "repaint_ms": _summary(repaints)})
        browser.close()
    return found


def _summary(times: Any) -> dict[str, float]:
    low, middle, high, most = np.quantile(times, [0.25, 0.5, 0.75, 0.95])
    return {"median": float(middle), "q1": float(low), "q3": float(high), "p95": float(most)}


def sentence(record: dict[str, Any]) -> str:
    """What was measured, for the page on how the book was built."""
    slowest = max(record["cases"], key=lambda case: case["frame_ms"]["p95"])
    machine = record["hardware"]
    others = [f"`{case['structure']}`" for case in record["cases"] if case is not slowest]
    return (
        f"**Speed of an explorer.** After one move of the block explorer's slider, a map of {record['shape'][0]:,} × "
        f"{record['shape'][1]:,} is redrawn in {slowest['frame_ms']['median']:.0f} ms (median; 95 % of moves within "
        f"{slowest['frame_ms']['p95']:.0f} ms) under `{slowest['structure']}`; under {', '.join(others[:-1])} and "
        f"{others[-1]} 95 % of moves stay within that, too. Measured in headless Chromium without a GPU on "
        f"{machine['cpu']}, {record['provenance']['date'][:10]}; recorded in `book/results/{RESULT.name}`."
    )


def main() -> int:
    """Measure, print, record."""
    shape = (3072, 768)
    cases = measure(shape)
    record = {
        "format": FORMAT, "shape": list(shape), "moves": MOVES, "cases": cases, "provenance": provenance(),
        "hardware": hardware().to_dict(),
    }  # fmt: skip
    for case in cases:
        print(case["structure"], {key: round(value, 1) for key, value in case["frame_ms"].items()})
    write_json(RESULT, record)
    print(sentence(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
