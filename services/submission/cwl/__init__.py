"""CWL documents as the deploy gate and the engine both read them: text, names, schemas."""
