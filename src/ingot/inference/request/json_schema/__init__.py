"""JSON Schema as generators write it, in the form that the grammar compiler takes."""
