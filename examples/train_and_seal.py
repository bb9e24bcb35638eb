"""Train a small model on your own text, seal it, and let it write.

python examples/train_and_seal.py docs my.ingot 60s
"""

import sys

import ingot


def main(texts: str, out: str, budget: str) -> None:
    """Train on a file or folder of text for the time ``budget``; seal the model as ``out``."""
    # The budget is the only choice to make: the machine is measured and the rest follows from it.
    run = ingot.train(texts, budget=budget)
    print(f"{run.path}: {run.result.steps} updates, {run.result.bits_per_byte:.3f} bits per byte")

    # Sealing writes the best checkpoint, with a digest over every byte of it.
    with ingot.freeze(run, out) as sealed:
        print(f"{out}: digest {sealed.digest}")

    with ingot.load(out) as model:
        for text in model.stream("The ", max_tokens=100, temperature=0.8, seed=1):
            print(text, end="", flush=True)
        print()


if __name__ == "__main__":
    main(*sys.argv[1:])
