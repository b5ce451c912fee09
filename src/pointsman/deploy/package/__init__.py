"""Ready folders for the places where a router can run: a target is a folder of templates and its facts."""
