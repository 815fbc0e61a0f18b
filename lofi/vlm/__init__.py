"""A small multi-image model that grounds phrases after examples, in the hub's own format."""
