"""``python -m calcium_helpers`` is the command line."""

from calcium_helpers.cli import main

raise SystemExit(main())
