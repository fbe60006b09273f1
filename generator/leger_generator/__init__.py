"""The systemd generator: from units.json to units, with little more than os, sys and json."""
