"""The web page: its static files and the data that only it reads."""
