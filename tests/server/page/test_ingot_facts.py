from __future__ import annotations

from pathlib import Path

import httpx

from ingot.artifact import Ingot, Provenance, Scheme, freeze, open_ingot, round_model
from ingot.server.page.ingot_facts import facts_of


def test_what_was_sealed_is_told(http: httpx.Client, ingot: Ingot) -> None:
    facts = http.get("/ingots/tiny").json()
    assert facts["digest"] == ingot.digest
    assert facts["tensors"] == len(ingot.manifest.tensors)
    assert facts["weight_bytes"] == 2 * facts["parameters"] == 2 * ingot.config.parameters
    assert facts["config"]["hidden_size"] == ingot.config.hidden_size
    assert facts["training_flops_per_token"] == 3 * facts["inference_flops_per_token"]
    assert (facts["format"], facts["quantized"]) == ("bfloat16", False)
    assert facts["provenance"] == ingot.manifest.provenance.model_dump(mode="json")


def test_the_format_of_the_weights_is_told(ingot: Ingot, tmp_path: Path) -> None:
    rounded = facts_of("tiny", ingot, "int8")
    assert (rounded.format, rounded.quantized) == ("int8", False)
    weights, config, out = dict(ingot.float32()), ingot.config, tmp_path / "int4.ingot"
    quantized = round_model(weights, config, Scheme("int4", 32))
    freeze(
        weights, config, ingot.tokenizer, out, provenance=Provenance(), quantized=quantized
    ).close()
    with open_ingot(out) as sealed:
        facts = facts_of("tiny", sealed)
    assert (facts.dtype, facts.quantized) == ("bfloat16", True)
    assert facts.format == "int4"


def test_an_ingot_that_is_not_served_is_not_found(http: httpx.Client) -> None:
    response = http.get("/ingots/other")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
