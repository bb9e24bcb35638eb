"""Routes of the page's view Two phases: a model's weights as a picture, and updates of a copy.

The server does not import training: it starts the program it was given, and passes on its lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ingot.artifact import Ingot, widen_to_float32
from ingot.artifact.inspection.weight_grid import grid_side, mean_sizes, sampled
from ingot.process import available_bytes
from ingot.server.access.request_context import context_of
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.admin import check_private
from ingot.server.routes.request_body import open_request, read_request, use_model
from ingot.server.schemas.common import ModelRequest

_LONGEST_S = 300.0  # of all updates of one request
_MOST_LINE_BYTES = 1 << 20
_BYTES_PER_WEIGHT = 24
"""Weights, gradients and two moments in float32, a copy to compare with, and one of the ingot."""


class UpdatesRequest(ModelRequest):
    """The body of ``POST /phases/updates``."""

    text: Annotated[str, Field(min_length=1, max_length=2000)]
    """What the copy learns; its first tokens are taken."""
    updates: Annotated[int, Field(ge=1, le=16)] = 6
    """How many updates to make."""


def add_phases(router: Router, service: Service) -> None:
    """Add the routes of the view Two phases."""
    one_at_a_time = asyncio.Lock()
    pictures: dict[str, bytes] = {}  # by digest, which names all weights

    @router.post("/phases/weights", described=False)
    async def weights(http_request: Request) -> Response:
        """Return the mean size of the weights in each cell of each matrix."""
        _, _, model = await open_request(http_request, ModelRequest, service)
        if model.digest not in pictures:
            picture = await asyncio.to_thread(weight_picture, model.ingot)
            pictures.clear()  # one is enough: the page shows one model
            pictures[model.digest] = orjson.dumps(picture)
        return Response(pictures[model.digest], media_type="application/json")

    @router.post("/phases/updates", described=False)
    async def updates(http_request: Request) -> Response:
        """Make updates of a copy of a model and stream what each of them does, as JSON lines.

        Needs a key with `admin` where there are keys: it takes a core and memory for a while.
        """
        check_private(service)
        context = context_of(http_request)
        if context.key is not None and not context.key.admin:
            raise ApiError(403, "only a key with admin = true may train", code="not_permitted")
        request = await read_request(http_request, UpdatesRequest, service)
        model = await use_model(service, context, request.model)
        if service.trainer is None:
            raise ApiError(
                409,
                "this server was started without the means to train; use: ingot serve",
                code="no_trainer",
            )
        _check_memory(model.ingot)
        if one_at_a_time.locked():
            raise ApiError(409, "another update runs; try again when it has ended", code="busy")
        await one_at_a_time.acquire()
        task = {"path": str(model.ingot.path), "text": request.text, "updates": request.updates}
        lines = _lines_of(service.trainer, orjson.dumps(task) + b"\n", one_at_a_time)
        return StreamingResponse(lines, media_type="application/x-ndjson")


def weight_picture(ingot: Ingot) -> dict[str, Any]:
    """Return for each matrix the mean size of the weights in each cell of its grid.

    Raises:
        ApiError: 409; the ingot is quantized and too large to be unpacked for a picture.
    """
    shapes = ingot.config.tensor_shapes()
    side = grid_side(shapes)
    cells: dict[str, Any] = {}
    if ingot.packed_shapes:
        if ingot.config.parameters > 300_000_000:
            raise ApiError(409, "the model is too large to be unpacked for a picture")
        for name, values in ingot.float32():
            if values.ndim == 2:
                cells[name] = mean_sizes(values, side)
    else:
        for name, shape in shapes.items():
            if len(shape) != 2:
                continue
            stored = sampled(ingot.read(name))
            bits = stored.dtype == np.uint16
            cells[name] = mean_sizes(widen_to_float32(stored) if bits else stored, side)
    return {
        "side": side,
        "matrices": [
            {
                "name": name,
                "shape": shapes[name],
                "rows": len(cells[name]),
                "columns": len(cells[name][0]),
                "cells": [float(f"{value:.3g}") for value in cells[name].ravel()],
            }
            for name in shapes
            if name in cells
        ],
    }


def _check_memory(ingot: Ingot) -> None:
    needed, free = _BYTES_PER_WEIGHT * ingot.config.parameters, available_bytes()
    if needed > free / 2:
        raise ApiError(
            409,
            f"training this model takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free, "
            f"of which half is left to others; serve a smaller model",
            code="too_large",
        )


async def _lines_of(script: Path, task: bytes, turn: asyncio.Lock) -> AsyncIterator[bytes]:
    """Run the program on a task and yield its lines; it ends with the answer, or with its reader.

    Releases ``turn``, which the caller has acquired.
    """
    process = None
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(script),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            limit=_MOST_LINE_BYTES,
        )  # fmt: skip
        if process.stdin is None or process.stdout is None:
            raise OSError("no pipes")
        process.stdin.write(task)
        process.stdin.close()
        async with asyncio.timeout(_LONGEST_S):
            complete = False
            async for line in process.stdout:
                complete = line.startswith((b'{"event":"ended"', b'{"event":"failed"'))
                yield line
        if not complete:
            yield _failed("the process that trained ended early, perhaps for want of memory")
    except TimeoutError:
        yield _failed(f"the updates took more than {_LONGEST_S:g} s; serve a smaller model")
    except (OSError, ValueError) as error:
        yield _failed(f"the process that trains failed ({error})")
    finally:
        turn.release()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _failed(message: str) -> bytes:
    return orjson.dumps({"event": "failed", "message": message}) + b"\n"
