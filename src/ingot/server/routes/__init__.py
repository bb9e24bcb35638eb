"""The API's routes: one module for each endpoint, and their shared parts."""
