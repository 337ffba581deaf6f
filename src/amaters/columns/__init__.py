"""Schema, types, and the way values become slots and sealed rows (client side of the boundary)."""
