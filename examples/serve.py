"""Serve a pruned classifier over HTTP: `python examples/serve.py FOLDER`.

FOLDER is what `bp.save` wrote.

    POST /classify {"text": "a fine film"} -> {"label": "good", "score": 1}
    GET /ready                             -> 200, once the model is warm

Needs the extra `serve`, and OMP_WAIT_POLICY=PASSIVE in the environment: see
the page "Serve it".
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from transformers import AutoTokenizer

import blockprune_lib as bp


class Question(BaseModel):
    """What a client sends; a longer text is refused with status 422."""

    text: str = Field(min_length=1, max_length=20_000)


Answer = dict[str, Any]
Answerer = Callable[[list[str]], list[Answer]]


def classifier(model: Any, tokenizer: Any) -> Answerer:
    """A function that answers a batch of texts."""
    names = model.config.id2label
    how = {"padding": True, "truncation": True, "return_tensors": "pt"}

    def classify(texts: list[str]) -> list[Answer]:
        inputs = tokenizer(texts, **how)
        with torch.inference_mode():
            shares = model(**inputs).logits.float().softmax(-1)
        best = [
            (names[int(row.argmax())], float(row.max())) for row in shares
        ]
        return [{"label": name, "score": score} for name, score in best]

    return classify


class Batches:
    """Answer all texts that wait as one batch, in one thread.

    Those that come while it runs make the next one. A batch is not held
    back until it is full.
    """

    def __init__(self, answer: Answerer, most: int, waiting: int) -> None:
        self.answer, self.most = answer, most
        self.queue: asyncio.Queue = asyncio.Queue(waiting)
        self.thread = ThreadPoolExecutor(1)

    async def ask(self, text: str) -> Answer:
        """The answer to one text; raises QueueFull where too many wait."""
        future = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((text, future))
        return await future

    async def work(self) -> None:
        """Take batches, for ever."""
        while True:
            batch = [await self.queue.get()]
            while len(batch) < self.most and not self.queue.empty():
                batch.append(self.queue.get_nowait())
            # A client that has left costs nothing.
            batch = [asked for asked in batch if not asked[1].cancelled()]
            if batch:
                await self._run(*zip(*batch, strict=True))

    async def _run(self, texts: tuple, futures: tuple) -> None:
        loop = asyncio.get_running_loop()
        run = loop.run_in_executor(self.thread, self.answer, list(texts))
        try:
            answers: list[Any] = await run
        except Exception as error:  # these fail; the next ones need not
            answers = [error] * len(futures)
        for future, answer in zip(futures, answers, strict=True):
            if future.cancelled():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def make_app(
    answer: Answerer, *, most: int = 32, waiting: int = 1024
) -> FastAPI:
    """The service: `most` texts in a batch, `waiting` in the queue."""
    batches = Batches(answer, most, waiting)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(batches.work())
        # In the thread that will do the work; requests are taken after it.
        await batches.ask("warm")
        yield
        worker.cancel()

    app = FastAPI(title="A pruned classifier", lifespan=life)

    @app.post("/classify")
    async def classify(question: Question) -> Answer:
        try:
            return await batches.ask(question.text)
        except asyncio.QueueFull:
            raise HTTPException(503, "too many requests wait") from None

    @app.get("/ready")
    async def ready() -> Answer:
        return {"ready": True}

    return app


def main() -> None:
    """Load, warm up, serve."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=raw
    )
    parser.add_argument("folder", help="what bp.save wrote")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: all")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, help="default: one a core")
    parser.add_argument("--most", type=int, default=32, help="in a batch")
    options = parser.parse_args()
    model = bp.load(options.folder)
    tokenizer = AutoTokenizer.from_pretrained(options.folder)
    warm = bp.warm_up(model)
    torch.set_num_threads(options.threads or min(warm.threads, warm.cores))
    print(warm, flush=True)
    app = make_app(classifier(model, tokenizer), most=options.most)
    where = {"host": options.host, "port": options.port}
    uvicorn.run(app, **where, log_level="warning")


if __name__ == "__main__":
    main()
