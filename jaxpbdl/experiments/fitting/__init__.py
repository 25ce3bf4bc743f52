"""How networks are trained: integrators of gradient flow, and inverses in the update."""
