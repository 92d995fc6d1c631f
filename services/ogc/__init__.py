"""What callers over REST see: OGC API - Processes in requests, links, lists, results and problems."""
