"""The fields of each request against the table in docs/serving.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from ingot.server.routes.embeddings import EmbeddingsRequest
from ingot.server.routes.tokenize import TokenizeRequest
from ingot.server.schemas.chat import ChatRequest
from ingot.server.schemas.completions import CompletionRequest
from ingot.server.schemas.responses import ResponsesRequest

SECTION = (Path(__file__).parents[3] / "docs" / "serving.md").read_text()
SECTION = SECTION.partition("### Fields")[2].partition("\n## ")[0]
NAMED = set(re.findall(r"`([a-z_]+)`", SECTION)) | {"model"}


@pytest.mark.parametrize(
    "request_type",
    [CompletionRequest, ChatRequest, ResponsesRequest, EmbeddingsRequest, TokenizeRequest],
)
def test_every_field_is_documented(request_type: type[BaseModel]) -> None:
    assert request_type.model_fields.keys() - NAMED == set()
