"""Fine-tune an ingot on conversations and compare it with the model it came from.

python examples/fine_tune_and_compare.py my.ingot tuned.ingot
"""

import json
import sys
from pathlib import Path

import ingot


def main(base: str, out: str) -> None:
    """Teach sums to the model of the ingot ``base``; seal the result as ``out``."""
    sums = [(f"What is {a} plus {b}?", f"{a + b}.") for a in range(10) for b in range(10)]
    with Path("sums.jsonl").open("w") as file:
        for question, answer in sums:
            turns = [("user", question), ("assistant", answer)]
            messages = [{"role": role, "content": text} for role, text in turns]
            file.write(json.dumps({"messages": messages}) + "\n")

    run = ingot.train("sums.jsonl", start=base, task="chat", settings={"run.epochs": 20})
    print(f"held-out loss {run.result.validation_loss:.3f} nats per token")
    ingot.freeze(run, out).close()

    for path in (base, out):
        manifest = ingot.verify(path)  # checks every digest
        print(f"{path}: digest {manifest.digest[:16]}, parent {manifest.provenance.parent}")
        with ingot.load(path) as model:
            question = {"role": "user", "content": "What is 2 plus 3?"}
            print(repr(model.chat([question], max_tokens=20, temperature=0).text))


if __name__ == "__main__":
    main(*sys.argv[1:])
