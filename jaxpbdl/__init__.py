"""jaxpbdl: physics-based deep learning in JAX."""
