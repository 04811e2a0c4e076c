"""Figures of the inbox: speed, loss through kills, forgeries and garbage."""
