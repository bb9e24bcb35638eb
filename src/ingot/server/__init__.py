"""The HTTP server: the OpenAI API, access control and the web page."""

from ingot.server.config import ServerConfig
from ingot.server.engine.kv_events import KvEventsConfig
from ingot.server.http.listener import listen
from ingot.server.serve import Server
from ingot.server.settings import named_objectives, named_paths, read_settings

__all__ = [
    "KvEventsConfig",
    "Server",
    "ServerConfig",
    "listen",
    "named_objectives",
    "named_paths",
    "read_settings",
]
