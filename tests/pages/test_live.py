"""The explorers with a real kernel: in JupyterLab in a browser, and under ipywidgets 7.7.1, as Colab has it."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from .conftest import HTML, missing
from .explorers import same

CELLS = {
    "block": """
import torch
from torch import nn
from blockprune_lib.widgets import BlockExplorer
torch.manual_seed(0)
explorer = BlockExplorer({"mine": nn.Sequential(nn.Linear(64, 96), nn.Linear(96, 64))}, structure="block_row:16")
explorer
""",
    "rate": """
from blockprune_lib.widgets import RateExplorer
from tests.helpers.recorded import bench, runs
explorer = RateExplorer(runs(), [bench()], rate=1.0)
explorer
""",
    "reweighting": """
from blockprune_lib.widgets import ReweightingExplorer
explorer = ReweightingExplorer()
explorer
""",
    "roofline": """
from blockprune_lib.widgets import RooflineExplorer
explorer = RooflineExplorer([{"cpu": "A", "isa": "B", "peak_core_gflops": 50.0, "peak_all_gflops": 90.0,
                              "bandwidth_core_gbs": 10.0, "bandwidth_gbs": 16.0}])
explorer
""",
    "kernel": """
from blockprune_lib.widgets import KernelAnimation
explorer = KernelAnimation()
explorer
""",
}
TELL = """
import json, time
print("TOLD" + json.dumps({"settings": explorer.settings(), "figures": explorer.figures(), "at": time.time()}))
""".strip()
SLIDERS = {
    "block": "Compression rate",
    "rate": "Rate",
    "reweighting": "Refreshes of α",
    "roofline": "Density",
    "kernel": "Step",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab of this environment, and its folder."""
    pytest.importorskip("jupyterlab")
    folder = tmp_path_factory.mktemp("lab")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = {
        "JUPYTER_CONFIG_DIR": str(folder / ".config"),
        "JUPYTER_DATA_DIR": str(folder / ".data"),
        "IPYTHONDIR": str(folder / ".ipython"),
    }
    environment = {key: value for key, value in os.environ.items() if key != "BLOCKPRUNE_STATIC"}
    environment |= home | {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    flags = ["--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
             "--IdentityProvider.token=", "--ServerApp.password=",
             f"--ServerApp.root_dir={folder}", "--LabApp.news_url=", "--ServerApp.disable_check_xsrf=True"]  # fmt: skip
    log = (folder / "lab.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *flags], stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/api", timeout=2):
                break
            if process.poll() is not None:
                missing(f"JupyterLab ended: {(folder / 'lab.log').read_text()[-500:]}")
            time.sleep(0.25)
        yield address, folder
    finally:
        process.terminate()
        process.wait(20)
        log.close()


@pytest.mark.parametrize("name", CELLS)
def test_in_jupyterlab_the_slider_reaches_python_and_python_the_page(name, lab, browser):
    address, folder = lab
    cells = [nbformat.v4.new_code_cell(text.strip()) for text in (CELLS[name], TELL)]
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
    nbformat.write(notebook, folder / f"{name}.ipynb")
    context = browser.new_context(viewport={"width": 1200, "height": 1400}, reduced_motion="reduce")
    try:
        page = context.new_page()
        page.goto(f"{address}/lab/workspaces/{name}/tree/{name}.ipynb?reset")
        page.locator(".jp-Notebook .jp-Cell").first.click(timeout=60_000)
        page.wait_for_function(
            "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'", timeout=90_000
        )
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).first.click()
        frame = page.locator(".jp-OutputArea-output .bpw").first
        frame.wait_for(timeout=120_000)
        page.wait_for_function("document.querySelector('.bpw').figures", timeout=20_000)
        slider = frame.get_by_label(SLIDERS[name], exact=False).first
        page.wait_for_timeout(1000)  # JupyterLab moves the focus when the cells are done
        for _ in range(3):
            slider.press("ArrowRight")
        page.wait_for_timeout(500)
        shown = page.evaluate("document.querySelector('.bpw').figures")
        told = tell(page)
        same(shown, told["figures"])
        before = {"block": 5.0, "rate": 1.0, "reweighting": 0, "roofline": 0.2, "kernel": 0}[name]
        key = {"block": "rate", "rate": "rate", "reweighting": "rounds", "roofline": "density", "kernel": "step"}[name]
        assert told["settings"][key] > before
    finally:
        context.close()


def tell(page):
    """Run the last cell again, and read what Python says."""
    cell = page.locator(".jp-Notebook .jp-Cell").nth(1)
    cell.locator(".cm-content").click()
    old = cell.locator(".jp-OutputArea-output").inner_text() if cell.locator(".jp-OutputArea-output").count() else ""
    page.keyboard.press("Control+Enter")
    for _ in range(100):
        page.wait_for_timeout(100)
        text = cell.locator(".jp-OutputArea-output").all_inner_texts()
        if text and text[0] != old and (found := re.search(r"TOLD(\{.*\})", text[0], re.S)):
            return json.loads(found[1])
    raise AssertionError(f"the kernel did not answer: {text}")


# --- ipywidgets 7.7.1, as Colab has it ---


@pytest.fixture(scope="module")
def seven():
    """A Python in an environment of its own that has ipywidgets 7.7.1, and everything else from this one."""
    folder = HTML.parents[0] / "ipywidgets-7.7.1"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        here = [path for path in sys.path if path.endswith("site-packages")]
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "others.pth").write_text("\n".join([*here, str(Path(__file__).resolve().parents[2])]) + "\n")
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "ipywidgets==7.7.1",
                   "widgetsnbextension==3.6.10", "jupyterlab-widgets==1.1.11", "ipython-genutils==0.2.0"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"ipywidgets 7.7.1 cannot be installed: {done.stderr[-300:]}")
        (folder / ".ready").touch()
    return python


@pytest.fixture(scope="module")
def kernel(seven, tmp_path_factory):
    """A kernel of that environment, and its client."""
    from jupyter_client import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = str(seven)
    environment = {key: value for key, value in os.environ.items() if key != "BLOCKPRUNE_STATIC"}
    manager.start_kernel(env=environment, cwd=str(tmp_path_factory.mktemp("seven")))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(client, code):
    """Run code; returns what it printed, what it displayed, and the messages of widgets."""
    printed, shown, comms = [], [], []

    def keep(message):
        kind, content = message["msg_type"], message["content"]
        if kind == "stream" and content["name"] == "stdout":
            printed.append(content["text"])
        elif kind in ("execute_result", "display_data"):
            shown.append(content["data"])
        elif kind.startswith("comm_"):
            comms.append(content | {"kind": kind})
        elif kind == "error":
            raise AssertionError("\n".join(content["traceback"]))

    client.execute_interactive(code, output_hook=keep, timeout=120)
    return "".join(printed), shown, comms


@pytest.mark.parametrize("name", CELLS)
def test_under_ipywidgets_7_a_front_end_sets_traits_and_python_answers(name, kernel):
    version, _, _ = run(kernel, "import ipywidgets; print(ipywidgets.__version__)")
    assert version.strip() == "7.7.1"
    _, shown, comms = run(kernel, CELLS[name])
    (view,) = [data["application/vnd.jupyter.widget-view+json"] for data in shown]
    opened = {content["comm_id"]: content["data"]["state"] for content in comms if content["kind"] == "comm_open"}
    state = opened[view["model_id"]]
    assert state["_esm"].count("export default explorer(") == 1
    assert "data" in state or any("data" in str(content.get("data", {}).get("buffer_paths")) for content in comms)
    key, value = {
        "block": ("rate", 8.0),
        "rate": ("rate", 3.0),
        "reweighting": ("rounds", 3),
        "roofline": ("density", 0.5),
        "kernel": ("step", 4),
    }[name]
    assert state[key] != value
    content = {"comm_id": view["model_id"], "data": {"method": "update", "state": {key: value}, "buffer_paths": []}}
    kernel.shell_channel.send(kernel.session.msg("comm_msg", content))
    told, _, _ = run(kernel, TELL)
    answer = json.loads(told.partition("TOLD")[2])
    assert answer["settings"][key] == value
    assert answer["figures"]
    refused, _, _ = run(
        kernel,
        f"""
try:
    explorer.{key} = -1
except Exception as error:
    print(type(error).__name__, error)
""",
    )
    assert refused.startswith("TraitError")
