"""`python -m pointsman` is the command line."""

from pointsman.cli.__main__ import main

raise SystemExit(main())
