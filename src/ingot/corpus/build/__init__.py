"""The corpus build: two passes from documents to shards of tokens, resumable."""
