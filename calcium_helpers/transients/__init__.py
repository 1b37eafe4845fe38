"""Miniature synaptic calcium transients: events as small volumes of T x H x W."""
