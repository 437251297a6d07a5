"""What would change, and which ML steps would run again: compares manifests, and says it as text, JSON or Markdown.

Does no I/O and reaches no cluster. Secret values are masked before anything is compared.
"""
