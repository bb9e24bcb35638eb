"""Measuring of the compression in a separate process; run by ``compressed_bits_per_byte``."""

from __future__ import annotations

from ingot.corpus.build.child import serve
from ingot.corpus.build.compression_baseline import measured
from ingot.process import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    serve(measured)
