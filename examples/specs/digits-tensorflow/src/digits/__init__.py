"""Handwritten digits, 8 x 8 pixels with values 0 to 16."""
