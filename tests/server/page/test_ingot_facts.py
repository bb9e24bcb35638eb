from __future__ import annotations

import httpx

from ingot.artifact import Ingot


def test_what_was_sealed_is_told(http: httpx.Client, ingot: Ingot) -> None:
    facts = http.get("/ingots/tiny").json()
    assert facts["digest"] == ingot.digest
    assert facts["tensors"] == len(ingot.manifest.tensors)
    assert facts["weight_bytes"] == 2 * facts["parameters"] == 2 * ingot.config.parameters
    assert facts["config"]["hidden_size"] == ingot.config.hidden_size
    assert facts["training_flops_per_token"] == 3 * facts["inference_flops_per_token"]
    assert facts["provenance"] == ingot.manifest.provenance.model_dump(mode="json")


def test_an_ingot_that_is_not_served_is_not_found(http: httpx.Client) -> None:
    response = http.get("/ingots/other")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
