"""HTTP/1.1 as the remote's calls need it, over aiohttp's connections. What a call means is not known here."""
