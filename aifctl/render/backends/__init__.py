"""One module a back end: `objects(bundle)` yields (template name, context). Structure is in the templates."""
