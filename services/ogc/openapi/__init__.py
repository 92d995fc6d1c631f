"""The OpenAPI definition of a workspace, made from the contract and from the descriptions of its processes."""
