"""`faust -A bisupervised.streams.faust_app worker`: the same application, started by Faust's own command line.

The settings are the file named in `BISUPERVISED_CONFIG`. This is the only module that reads the environment and
the broker when it is imported: `faust -A` wants an application to import.
"""

from __future__ import annotations

import os
from pathlib import Path

from .settings.file import ConfigurationFile
from .worker.app import create_app

_config = os.environ.get("BISUPERVISED_CONFIG")
_source = ConfigurationFile(Path(_config) if _config else None)

app = create_app(_source.load(), source=_source)
