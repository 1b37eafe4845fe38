"""Networks for miniature synaptic calcium transients: what they see, what they learn from, how they look at a movie."""
