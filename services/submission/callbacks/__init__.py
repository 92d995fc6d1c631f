"""What subscribers are told of their jobs."""
