"""Routing files: from rows in, to rows with decisions out, every row once."""
