"""The slab of ice and the frame that lies in it."""
