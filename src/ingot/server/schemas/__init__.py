"""Request and response schemas of the API, and the OpenAPI document."""
