"""What writes this repository's own pages; no part of the package."""
