"""SQL text to bound statements, on the client only: what a server receives never contains SQL."""
