"""What the bytes of a request say where they are no JSON: text, plain bytes, Avro and Protobuf with a schema registry.

`reading.py` makes a document of them, for `schemas/codec.py`; `registry.py` fetches the schemas. `results.py` writes
results in Avro and reads them. What a schema means is
in `avro.py` and `protobuf.py`, which need the extra `registry`. Nothing here knows Kafka.
"""
