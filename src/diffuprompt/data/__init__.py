"""Data room: manifests, the catalog, official splits, few-shot selection, images, the scenes."""
