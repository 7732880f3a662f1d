"""Serve a pruned classifier over HTTP: `python examples/serve.py FOLDER`, where FOLDER is what `bp.save` wrote.

    POST /classify {"text": "a fine film"}   ->   {"label": "positive", "score": 0.98}
    GET /ready                               ->   200, once the model is warm

Needs `pip install "blockprune-lib[serve]"`, and OMP_WAIT_POLICY=PASSIVE in the environment: see the page "Serve it".
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


def classifier(model: Any, tokenizer: Any) -> Callable[[list[str]], list[dict]]:
    """A function that answers a batch of texts."""

    def classify(texts: list[str]) -> list[dict]:
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            shares = model(**inputs).logits.float().softmax(-1)
        return [{"label": model.config.id2label[int(row.argmax())], "score": float(row.max())} for row in shares]

    return classify


class Batches:
    """Answer what waits as one batch, in one thread; what comes meanwhile is the next batch. Nobody waits for more."""

    def __init__(self, answer: Callable[[list[str]], list[dict]], most: int, waiting: int) -> None:
        self.answer, self.most = answer, most
        self.queue: asyncio.Queue = asyncio.Queue(waiting)
        self.thread = ThreadPoolExecutor(1)

    async def ask(self, text: str) -> dict:
        """The answer to one text; raises QueueFull where too many wait."""
        future = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((text, future))
        return await future

    async def work(self) -> None:
        """Take batches, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self.queue.get()]
            while len(batch) < self.most and not self.queue.empty():
                batch.append(self.queue.get_nowait())
            batch = [(text, future) for text, future in batch if not future.cancelled()]
            try:
                texts = [text for text, _ in batch]
                answers = await loop.run_in_executor(self.thread, self.answer, texts) if texts else []
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.cancelled():
                        future.set_result(answer)
            except Exception as error:  # these requests fail; the next ones need not
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)


def make_app(answer: Callable[[list[str]], list[dict]], *, most: int = 32, waiting: int = 1024) -> FastAPI:
    """The service: `most` texts in a batch; with `waiting` in the queue a further one is refused with status 503."""
    batches = Batches(answer, most, waiting)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(batches.work())
        await batches.ask("warm")  # in the thread that will do the work; requests are taken after it
        yield
        worker.cancel()

    app = FastAPI(title="A pruned classifier", lifespan=life)

    @app.post("/classify")
    async def classify(question: Question) -> dict:
        try:
            return await batches.ask(question.text)
        except asyncio.QueueFull:
            raise HTTPException(503, "too many requests are waiting; try again") from None

    @app.get("/ready")
    async def ready() -> dict:
        return {"ready": True}

    return app


def main() -> None:
    """Load, warm up, serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="what bp.save wrote, with its tokenizer")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, help="of the model; default: torch's, no more than there are cores")
    parser.add_argument("--most", type=int, default=32, help="texts in a batch")
    options = parser.parse_args()
    model, tokenizer = bp.load(options.folder), AutoTokenizer.from_pretrained(options.folder)
    warm = bp.warm_up(model)
    torch.set_num_threads(options.threads or min(warm.threads, warm.cores))
    print(warm, flush=True)
    app = make_app(classifier(model, tokenizer), most=options.most)
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
