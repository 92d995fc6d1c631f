"""Results as callers over REST get them."""
