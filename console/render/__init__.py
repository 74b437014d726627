"""Rows and numbers to text with semantic styles. Pure: knows no terminal, no colour, no widget."""
