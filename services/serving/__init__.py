"""How every service is served: the layers around an RPC, health, reflection, settings."""
