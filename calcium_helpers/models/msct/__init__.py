"""Networks that find miniature synaptic calcium transients: what they see, what they learn from, and how they look at a movie."""
