"""Local models that are files: each format is read into a function of a list of inputs.

`torch_files.py` reads torch.export and TorchScript, `hugging_face.py` a folder with config, tokenizer and safetensors,
`onnx_files.py` ONNX. `texts.py` and `images.py` make tensors of inputs, `devices.py` says where the model computes.
Nothing is downloaded, and nothing unpickled. What is put out is read in `answers.py`, not here.
"""
