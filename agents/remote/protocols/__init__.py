"""The ways to speak to a remote, one file each. Adapters without I/O: inputs to bytes, bytes to answers.

open_inference   Open Inference Protocol v2: KServe, Seldon, MLServer, Triton
openai_chat      chat completions: OpenAI, vLLM, Ollama, LiteLLM
tei              Text Embeddings Inference, /predict
generic_json     any server of JSON, by templates and paths
custom           loads the user's own
templates        prompts and bodies with fields in them
json_paths       where in an answer something stands

What they have in common is in `..protocol`.
"""
