"""Access control: API keys, admission, rate limits and the tracing of a request."""
