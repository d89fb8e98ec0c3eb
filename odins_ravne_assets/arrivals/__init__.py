"""New footage: what has arrived, whose camera's it is, and when its card is complete."""
