"""Where the checkout and its side environments are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".peers"
"""`nox -s peers` puts the environments of other servers and of fuzzers here."""
