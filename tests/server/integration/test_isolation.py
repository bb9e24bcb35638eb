"""What the holder of one key can learn of another's requests: nothing."""

from __future__ import annotations

from pathlib import Path

import httpx

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

PROMPT = "the quick brown fox jumps over a prompt that nothing else here asks about. " * 3


def test_keys_do_not_share_cached_prefixes(
    ingot: Ingot, engine: EngineLoop, tmp_path: Path
) -> None:
    path = tmp_path / "keys.toml"
    (alice, first), (bob, second) = map(make_key, ("alice", "bob"))
    path.write_text(first + second)
    path.chmod(0o600)
    with Server(ingot, engine, ServerConfig(port=0, api_keys=path)) as server:

        def cached_tokens(key: str, salt: str | None = None) -> int:
            answer = httpx.post(
                f"{server.url}/v1/completions",
                json={"model": "tiny", "prompt": PROMPT, "max_tokens": 1, "cache_salt": salt},
                headers={"authorization": f"Bearer {key}"},
                timeout=30,
            )
            assert answer.status_code == 200, answer.text
            return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])

        assert cached_tokens(alice) == 0
        assert cached_tokens(alice) > 0
        assert cached_tokens(bob) == 0
        assert cached_tokens(bob, "alice/") == 0  # a salt cannot name another key
        assert cached_tokens(bob) > 0
