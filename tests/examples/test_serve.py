"""The example of a server: batches of what waits, answers that are the model's own, and refusals."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

import blockprune_lib as bp
from examples.load import closed
from examples.serve import Batches

from ..helpers.tiny import write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny pruned classifier with named labels, as bp.save writes it."""
    at = tmp_path_factory.mktemp("model")
    model, tokenizer = bp.models.load(write(tmp_path_factory.mktemp("plain"), head=3), num_labels=3)
    model.config.id2label = {0: "bad", 1: "so so", 2: "good"}
    structure = bp.BlockStructure.block_column(4)
    bp.prune(model, structure, rate=2.0)
    bp.save(bp.sparsify(model, structure, keep_dense_above=1.0), at, tokenizer)
    return at


@pytest.fixture(scope="module")
def address(folder):
    """Of the server, run as the page says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, str(ROOT / "examples" / "serve.py"), str(folder), "--port", port, "--threads", "1"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    for _ in range(2400):
        try:
            with urllib.request.urlopen(f"{url}/ready") as answer:
                assert json.load(answer) == {"ready": True}
            break
        except urllib.error.URLError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
    yield url
    process.terminate()
    said, _ = process.communicate(timeout=20)
    assert "warm-up" in said


def ask(url, content):
    request = urllib.request.Request(
        f"{url}/classify", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_the_answer_is_the_models_own_with_the_names_of_its_labels(address, folder):
    from transformers import AutoTokenizer

    model, tokenizer = bp.load(folder), AutoTokenizer.from_pretrained(folder)
    for text in ("the cat sat", "good", "a " * 100):
        with torch.inference_mode():
            shares = model(**tokenizer([text], truncation=True, return_tensors="pt")).logits.softmax(-1)[0]
        answer = ask(address, {"text": text})
        assert answer["label"] == model.config.id2label[int(shares.argmax())] in ("bad", "so so", "good")
        assert answer["score"] == pytest.approx(float(shares.max()), abs=1e-4)


@pytest.mark.parametrize("content", [{}, {"text": ""}, {"text": 3}, {"text": "a" * 20_001}, []])
def test_what_is_no_text_is_refused(address, content):
    with pytest.raises(urllib.error.HTTPError) as error:
        ask(address, content)
    error.value.close()
    assert error.value.code == 422


def test_many_clients_are_answered_at_once(address):
    load = asyncio.run(closed(f"{address}/classify", ["the cat", "a good dog sat"], 0.5, clients=8))
    assert load.failed == 0
    assert len(load.times) >= 8


def test_what_waits_is_one_batch_and_answers_go_to_their_own_askers():
    sizes = []

    def answer(texts):
        sizes.append(len(texts))
        time.sleep(0.02)
        return [{"label": text} for text in texts]

    async def story():
        batches = Batches(answer, most=4, waiting=100)
        worker = asyncio.create_task(batches.work())
        answers = await asyncio.gather(*(batches.ask(str(number)) for number in range(9)))
        worker.cancel()
        return answers

    assert asyncio.run(story()) == [{"label": str(number)} for number in range(9)]
    assert sizes == [4, 4, 1]


def test_a_batch_that_fails_fails_its_askers_only():
    def answer(texts):
        if "bad" in texts:
            raise RuntimeError("no")
        return [{"label": text} for text in texts]

    async def story():
        batches = Batches(answer, most=1, waiting=100)
        worker = asyncio.create_task(batches.work())
        answers = await asyncio.gather(batches.ask("bad"), batches.ask("good"), return_exceptions=True)
        worker.cancel()
        return answers

    failed, answered = asyncio.run(story())
    assert isinstance(failed, RuntimeError)
    assert answered == {"label": "good"}


def test_a_full_queue_refuses_and_a_client_that_left_costs_nothing():
    answered = []

    def answer(texts):
        answered.extend(texts)
        return [{"label": text} for text in texts]

    async def story():
        batches = Batches(answer, most=8, waiting=2)
        left, stays = (asyncio.create_task(batches.ask(text)) for text in ("left", "stays"))
        await asyncio.sleep(0)
        with pytest.raises(asyncio.QueueFull):
            await batches.ask("too many")
        left.cancel()
        await asyncio.sleep(0)
        worker = asyncio.create_task(batches.work())
        assert await stays == {"label": "stays"}
        worker.cancel()

    asyncio.run(story())
    assert answered == ["stays"]
