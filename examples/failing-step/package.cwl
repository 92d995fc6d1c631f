cwlVersion: v1.2
$namespaces:
  s: https://schema.org/
s:softwareVersion: 1.0.0
s:keywords: [try-out, failure]
s:license: https://www.apache.org/licenses/LICENSE-2.0

$graph:
  - class: Workflow
    id: failing-step
    label: A workflow whose second step fails
    doc: Shows what a failed job tells. The second of three steps writes some lines and ends with an exit code of your choice.
    inputs:
      exit_code:
        label: Exit code
        doc: With 0 the workflow succeeds.
        type: int
        default: 3
    outputs:
      product:
        type: File
        outputSource: publish/product
    steps:
      prepare:
        run: "#prepare"
        in: {}
        out: [bands]
      calibrate:
        run: "#calibrate"
        in: {bands: prepare/bands, exit_code: exit_code}
        out: [calibrated]
      publish:
        run: "#publish"
        in: {calibrated: calibrate/calibrated}
        out: [product]

  - class: CommandLineTool
    id: prepare
    baseCommand: [python3, -c]
    arguments:
      - |
        import sys

        print("preparing bands", file=sys.stderr)
        print("B02 B03 B04")
    inputs: {}
    stdout: bands.txt
    outputs:
      bands: stdout

  - class: CommandLineTool
    id: calibrate
    baseCommand: [python3, -c]
    arguments:
      - |
        import sys

        path, code = sys.argv[1], int(sys.argv[2])
        for band in open(path).read().split():
            print(f"calibrating {band}", file=sys.stderr)
        if code:
            print("no calibration coefficients for B04", file=sys.stderr)
            sys.exit(code)
        print("calibrated")
    inputs:
      bands:
        type: File
        inputBinding: {position: 1}
      exit_code:
        type: int
        inputBinding: {position: 2}
    stdout: calibrated.txt
    outputs:
      calibrated: stdout

  - class: CommandLineTool
    id: publish
    baseCommand: [cat]
    inputs:
      calibrated:
        type: File
        inputBinding: {}
    stdout: product.txt
    outputs:
      product: stdout
