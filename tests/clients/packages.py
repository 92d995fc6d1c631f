"""Packages that clients deploy."""

STAC = r"""
cwlVersion: v1.2
class: CommandLineTool
id: scene-maker
label: scene maker
doc: Leaves a STAC catalog of one scene.
$namespaces: {s: "https://schema.org/"}
s:softwareVersion: 0.1.2
requirements:
  - class: InlineJavascriptRequirement
inputs:
  fn: {type: string, label: function}
  size: {type: int, default: 50}
  ratio: double?
  keep: boolean
  bands: "int[]?"
outputs:
  stac: {type: Directory, outputBinding: {glob: out}}
baseCommand: [sh, -c]
arguments:
  - |
    set -e
    mkdir -p out/scene
    cat > out/catalog.json <<'END'
    {"type": "Catalog", "stac_version": "1.0.0", "id": "out", "description": "What was made.",
     "links": [{"rel": "item", "href": "./scene/scene 1.json"}]}
    END
    cat > "out/scene/scene 1.json" <<'END'
    {"type": "Feature", "stac_version": "1.0.0", "id": "scene-1", "bbox": [1.0, 50.0, 2.0, 51.0],
     "geometry": {"type": "Point", "coordinates": [1.5, 50.5]},
     "properties": {"datetime": "2026-03-01T12:00:00Z", "given": $(JSON.stringify(inputs))},
     "links": [{"rel": "root", "href": "../catalog.json"}],
     "assets": {"data": {"href": "./pixels.txt", "type": "text/plain"}}}
    END
    echo pixels > out/scene/pixels.txt
    echo "working on it" >&2
"""

CONVERT = """
cwlVersion: v1.2
class: CommandLineTool
id: convert-url
label: {label}
doc: {doc}
$namespaces: {{s: "https://schema.org/"}}
s:softwareVersion: {version}
inputs: {{}}
outputs: {{said: {{type: stdout}}}}
stdout: said.txt
baseCommand: [sh, -c, "sleep {seconds}; echo done"]
"""


def convert(
    *, label: str = "convert url app", doc: str = "Convert URL", version: str = "0.1.2", seconds: int = 0
) -> str:
    """A package that waits for a while."""
    return CONVERT.format(label=label, doc=doc, version=version, seconds=seconds)
