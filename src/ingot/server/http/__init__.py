"""HTTP/1.1 on sockets: listener, connections, protocol parser and error bodies."""
