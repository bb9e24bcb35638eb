"""The server side of the engine: loaded models, mailboxes to their threads, output streams."""
