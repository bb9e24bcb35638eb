"""Between routes and engine: served models, prompts, grammars, output streams, responses."""
