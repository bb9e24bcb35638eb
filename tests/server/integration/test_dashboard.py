"""The dashboard asks for no figure that the server does not report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import openai

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana.json"


def test_every_figure_of_the_dashboard_is_reported(
    client: openai.OpenAI, http: httpx.Client
) -> None:
    client.completions.create(
        model="tiny", prompt="def", max_tokens=3, extra_body={"ignore_eos": True}
    )
    reported = set(re.findall(r"^([a-z_:]+)[{ ]", http.get("/metrics").text, re.MULTILINE))
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"(?:vllm|ingot):[a-z_]+", target["expr"])
    }
    assert len(asked) > 15
    assert asked <= reported
