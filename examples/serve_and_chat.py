"""Serve an ingot from this program and talk to it through OpenAI's client (pip install openai).

python examples/serve_and_chat.py tuned.ingot "What is 2 plus 3?"
"""

import sys

import openai

import ingot


def main(path: str, question: str) -> None:
    """Answer ``question`` with the model of the ingot ``path``."""
    # Port 0 takes a free one. The server stops when the block ends.
    with ingot.load(path) as model, ingot.serve(model, port=0) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="not needed")
        chunks = client.chat.completions.create(
            model=client.models.list().data[0].id,
            messages=[{"role": "user", "content": question}],
            max_tokens=30,
            temperature=0,
            stream=True,
        )
        for chunk in chunks:
            print(chunk.choices[0].delta.content or "", end="", flush=True)

        # Every chunk names the weights that made it; the server can prove that it holds them.
        print(f"\nanswered by the weights {chunk.system_fingerprint}")
        ingot.verify(path, live=server.url)


if __name__ == "__main__":
    main(*sys.argv[1:])
