"""The API's routes: one module for each endpoint and what they share."""
