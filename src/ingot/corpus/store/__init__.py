"""The corpus on disk: shards of tokens and the manifest that describes them."""
