"""The embedding replica: one process around all-MiniLM-L6-v2 on ONNX Runtime."""
