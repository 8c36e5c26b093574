"""Commands about the configuration: check, ACLs, interface documents; and the end of every `--help`.

Commands over topics are in `tools/`, over recordings in `offline/`. The list of all is `cli.py`.
"""
