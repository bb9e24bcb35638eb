"""Signatures of ingots in the format of OpenSSF Model Signing 1.0."""
