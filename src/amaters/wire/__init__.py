"""Messages, framing and the service Protocol between client and engine."""
