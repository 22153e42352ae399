"""The arithmetic of detectors: arrays in, arrays out; no files, no engines."""
