"""The lesson in the terminal: scenes, drawing and questions."""
