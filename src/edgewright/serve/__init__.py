"""Models and pages over HTTP: thin skins over one `DataPlane`, which holds the truth."""
