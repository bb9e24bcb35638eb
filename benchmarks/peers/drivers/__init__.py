"""Programs that run inside the peers' environments; they see the standard library and the peer."""
