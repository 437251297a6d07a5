"""What the commands do: the compiler joined with the outside world (the rendered tree, Git, the store, releases).

One file a verb. Knows nothing of terminals: results are values with views, findings are diagnostics.
"""
