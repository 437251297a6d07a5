"""What `aifctl doctor` looks at, one file a subject. A check is a small function that answers with `Answer`s; it only
reads, and the tables at the foot of `machine` and `cluster` are the list of them all.
"""
