"""The demos: from text to a served model, and from a foreign model to a chat."""
