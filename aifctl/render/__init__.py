"""ir.Bundle -> list[Manifest]: templates filled with the IR's values, parsed at once, wrapped and sorted.

Reads template files and nothing else; `tree` names the files, and `write` is the one module that writes them. Never
sees a spec. Every finding is a Diagnostic AIF5xx inside a Report.
"""
