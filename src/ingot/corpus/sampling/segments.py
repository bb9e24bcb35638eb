"""Document numbers of the tokens of a sequence, to keep attention inside documents."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ingot.corpus.store.shards import TokenIds

Segments = npt.NDArray[np.int32]


def segments_of(windows: TokenIds, eos_id: int) -> Segments:
    """Number the documents of each window, for the tokens that go into the model.

    The end-of-text token belongs to the document that it ends: the segment
    changes after it. A token may attend to those before it with its own number.

    Args:
        windows: Token ids as ``Sampler.next_batch`` returns them, shape (B, T + 1):
            the inputs are all but the last of each row, the targets all but the first.
        eos_id: The end-of-text token.

    Returns:
        The segment of every input token, int32, shape (B, T); each row starts at 0.

    Raises:
        ValueError: ``windows`` is not of two dimensions, or has no column.
    """
    if windows.ndim != 2 or windows.shape[1] == 0:
        raise ValueError(f"windows of shape {windows.shape}, wanted (B, T + 1)")
    segments = np.zeros((windows.shape[0], windows.shape[1] - 1), np.int32)
    np.cumsum(windows[:, :-2] == eos_id, axis=1, dtype=np.int32, out=segments[:, 1:])
    return segments
