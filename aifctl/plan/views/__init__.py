"""Views of a plan for people and programs: each a pure function of a `ChangeSet` and its steps to text."""
