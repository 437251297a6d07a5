"""YAML text → typed, frozen models, with the facts of the files they name. The only stage that reads them."""
