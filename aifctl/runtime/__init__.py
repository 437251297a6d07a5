"""Executes ML steps, in a pod or on a laptop: reads `contract`, never a spec. The only package with heavy libraries."""
