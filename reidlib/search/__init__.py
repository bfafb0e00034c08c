"""From a trained system to answers: a gallery of known people, who is nobody, groups without names, export to ONNX."""
