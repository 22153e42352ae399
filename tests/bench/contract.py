"""What a row of `edgewright bench` holds, as others script against it."""

ROW_KEYS = {
    "name",
    "engine",
    "precision",
    "computes_in",
    "scheme",
    "threads",
    "batch",
    "imgsz",
    "load_ms",
    "first_ms",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "fps",
    "cpu_percent",
    "peak_mib",
    "size_mb",
    "energy_j",
}
