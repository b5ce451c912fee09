"""Ready folders for the places where a router can run: one target a place, one folder of templates a target."""
