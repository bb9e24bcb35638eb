"""Access control: API keys, admission, rate limits, requests in flight and their tracing."""
