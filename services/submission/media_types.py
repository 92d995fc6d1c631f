"""Media types and the endings of file names that go with them, in both directions, the same on every machine."""

import mimetypes
import os

UNKNOWN = "application/octet-stream"

_OF_ENDINGS = {
    ".7z": "application/x-7z-compressed",
    ".br": UNKNOWN,
    ".bz2": "application/x-bzip2",
    ".cwl": "application/cwl",
    ".csv": "text/csv",
    ".fgb": "application/vnd.flatgeobuf",
    ".geojson": "application/geo+json",
    ".gml": "application/gml+xml",
    ".gpkg": "application/geopackage+sqlite3",
    ".grib": "application/wmo-grib",
    ".grib2": "application/wmo-grib",
    ".gz": "application/gzip",
    ".h5": "application/x-hdf5",
    ".hdf5": "application/x-hdf5",
    ".jp2": "image/jp2",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".kml": "application/vnd.google-earth.kml+xml",
    ".kmz": "application/vnd.google-earth.kmz",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".nc": "application/x-netcdf",
    ".parquet": "application/vnd.apache.parquet",
    ".pgm": "image/x-portable-graymap",
    ".safe": "application/xml",
    ".tgz": "application/gzip",
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".tsv": "text/tab-separated-values",
    ".webp": "image/webp",
    ".xml": "application/xml",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".z": "application/x-compress",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}
_OF_NAMES = dict.fromkeys((".zarray", ".zattrs", ".zgroup", ".zmetadata"), "application/json")
"""Files of a Zarr store, which have no ending."""
_ENDINGS = {
    "application/cwl": ".cwl",
    "application/geo+json": ".geojson",
    "application/geopackage+sqlite3": ".gpkg",
    "application/gml+xml": ".gml",
    "application/gzip": ".gz",
    "application/json": ".json",
    "application/netcdf": ".nc",
    "application/octet-stream": ".bin",
    "application/pdf": ".pdf",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.google-earth.kml+xml": ".kml",
    "application/vnd.google-earth.kmz": ".kmz",
    "application/wmo-grib": ".grib",
    "application/x-hdf5": ".h5",
    "application/x-ndjson": ".jsonl",
    "application/x-netcdf": ".nc",
    "application/x-tar": ".tar",
    "application/x-yaml": ".yaml",
    "application/xml": ".xml",
    "application/yaml": ".yaml",
    "application/zip": ".zip",
    "image/gif": ".gif",
    "image/jp2": ".jp2",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/tiff": ".tif",
    "image/webp": ".webp",
    "text/css": ".css",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/javascript": ".js",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/tab-separated-values": ".tsv",
    "text/xml": ".xml",
    "text/yaml": ".yaml",
}
_OF_SUFFIXES = {"json": ".json", "xml": ".xml", "yaml": ".yaml", "zip": ".zip", "gzip": ".gz", "sqlite3": ".sqlite"}
"""Of structured syntax suffixes (RFC 6838, 4.2.8)."""

# Without files, since those of the machine differ from one to the next.
_PYTHON = mimetypes.MimeTypes(()).types_map[True]


def media_type_of(name: str) -> str:
    """The media type that a file name tells."""
    ending = os.path.splitext(name)[1].lower()
    return _OF_NAMES.get(name) or _OF_ENDINGS.get(ending) or _PYTHON.get(ending) or UNKNOWN


def ending_of(media_type: str) -> str:
    """The ending of a file name that tells a media type; empty where none does."""
    plain = media_type.partition(";")[0].strip().lower()
    return _ENDINGS.get(plain) or _OF_SUFFIXES.get(plain.rpartition("+")[2] if "+" in plain else "", "")
