"""The lesson in the terminal: sections, drawing and questions."""
