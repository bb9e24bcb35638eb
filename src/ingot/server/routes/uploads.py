"""Uploads: a form with a file, written to disk as it arrives."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request

from ingot.server.access.request_context import context_of
from ingot.server.batches.file_store import FileStore
from ingot.server.batches.records import FileRecord
from ingot.server.batches.upload import Upload
from ingot.server.config import ServerConfig
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.multipart import MultipartParser, Part
from ingot.server.schemas.batches import ExpiresAfter

_MAX_FIELD_BYTES = 1024
_LEAST_BYTES_PER_S = 65_536
_FIELDS = frozenset({"file", "purpose", "expires_after[anchor]", "expires_after[seconds]"})


async def receive_file(request: Request, service: Service, store: FileStore) -> FileRecord:
    """Store the file of a form.

    Raises:
        ApiError: 400, 403, 408, 413, 415, 429 or 507, naming what is wrong.
    """
    config, owner = service.config, context_of(request).key_name
    _check_origin(request, config)
    parser = MultipartParser(request.headers.get("content-type", ""))
    async with Upload(store, owner, config.batch_file_bytes) as upload:
        form = _Form(upload)
        received = 0
        deadline = asyncio.get_running_loop().time() + config.body_timeout_s
        try:
            async with asyncio.timeout_at(deadline) as timeout:
                async for piece in request.stream():
                    received += len(piece)
                    # A slow client may be slow, but not for ever: its place is one of few.
                    timeout.reschedule(deadline + received / _LEAST_BYTES_PER_S)
                    for event in parser.feed(piece):
                        await form.take(event)
                    await asyncio.sleep(service.admission.body_wait_s(len(piece), owner))
        except TimeoutError as error:
            raise ApiError(
                408,
                f"the file did not arrive within {config.body_timeout_s:g} s and a second for "
                f"each {_LEAST_BYTES_PER_S} bytes",
                code="body_timeout",
                headers={"connection": "close"},
            ) from error
        except ClientDisconnect as error:
            raise ApiError(400, "the client left before its file was complete") from error
        parser.finish()
        form.check()
        return await upload.keep(form.filename or "", form.lifetime_s)


class _Form:
    """The fields of an upload, its file aside."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._values: dict[str, bytes] = {}
        self._field = ""
        self.filename: str | None = None
        self.lifetime_s: int | None = None

    async def take(self, event: Part | bytes) -> None:
        """Take a field's beginning, or a piece of its content."""
        if isinstance(event, Part):
            self._begin(event)
        elif self._field == "file":
            await self._upload.write(event)
        else:
            self._values[self._field] += event
            if len(self._values[self._field]) > _MAX_FIELD_BYTES:
                raise _wrong(self._field, f"is longer than {_MAX_FIELD_BYTES} bytes")

    def _begin(self, part: Part) -> None:
        name = part.name[:80]
        if name not in _FIELDS:
            raise ApiError(
                400, f"{name!r} is not a field; remove it", param=name, code="unknown_field"
            )
        if name in self._values:
            raise _wrong(name, "is given twice")
        self._field = name
        self._values[name] = b""
        if name == "file":
            self.filename = (part.filename or "file")[:256]

    def check(self) -> None:
        """Check the fields once all are there.

        Raises:
            ApiError: 400.
        """
        for name in ("file", "purpose"):
            if name not in self._values:
                raise ApiError(400, f"{name} is missing; give it", param=name, code="missing_field")
        if self._values["purpose"] != b"batch":
            raise _wrong("purpose", 'must be "batch"')
        given = {
            name: self._values[f"expires_after[{name}]"].decode("utf-8", "replace")
            for name in ("anchor", "seconds")
            if f"expires_after[{name}]" in self._values
        }
        if given:
            try:
                # Of a form all values are texts, which strict models take for no numbers.
                self.lifetime_s = ExpiresAfter.model_validate_strings(given).seconds
            except ValueError as error:
                raise _wrong(
                    "expires_after", 'needs the anchor "created_at" and 3600 to 2592000 seconds'
                ) from error


def _check_origin(request: Request, config: ServerConfig) -> None:
    """Refuse forms of other sites' pages, which browsers send without asking first.

    They name their page's origin, which clients that are no browsers do not.

    Raises:
        ApiError: 403.
    """
    origin = request.headers.get("origin")
    if origin is None or origin in config.cors_origins:
        return
    if urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise ApiError(
            403,
            f"pages of {origin[:80]!r} may not upload files; allow it in server.cors_origins",
            code="foreign_origin",
        )


def _wrong(name: str, problem: str) -> ApiError:
    return ApiError(400, f"{name} {problem}", param=name, code="invalid_value")
