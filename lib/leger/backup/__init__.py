"""Backups of what containers write: data/NAME and volumes, compressed and checksummed.

`what` says what belongs to a deployment and who uses it, `quiet` stops or pauses those for the
time, `archive` and `folders` move the content, `kept` is what lies below backups/NAME/ID/,
`journal` what a killed backup or restore has left to do. `create`, `restore` and `retention` are
the commands.
"""
