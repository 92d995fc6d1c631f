cwlVersion: v1.2
$namespaces:
  s: https://schema.org/
s:softwareVersion: 0.3.0
s:keywords: [sentinel-2, metadata]
s:license: https://www.apache.org/licenses/LICENSE-2.0

$graph:
  - class: Workflow
    id: scene-report
    label: Report on a Sentinel-2 scene
    doc: >-
      Takes the name of a Sentinel-2 product apart and, when the scene is clear enough, lets a nested workflow write a
      report about it.
    requirements:
      InlineJavascriptRequirement: {}
      StepInputExpressionRequirement: {}
      SubworkflowFeatureRequirement: {}
    inputs:
      scene:
        label: Scene
        doc: The name of the product, as in S2B_MSIL2A_20260115T110319_N0511_R094_T30UXC_20260115T134512.
        type: string
      cloud_cover:
        label: Cloud cover
        doc: In percent.
        type: double
      max_cloud_cover:
        label: Highest cloud cover
        doc: Scenes with more clouds get no report. In percent.
        type: double
        default: 30
      style:
        label: Style of the report
        type:
          type: enum
          symbols: [short, long]
        default: short
    outputs:
      parts:
        label: Parts of the name
        type: Any
        outputSource: parse/parts
      report:
        label: Report
        doc: Absent when the scene is too cloudy.
        type: File?
        outputSource: report/report
    steps:
      parse:
        run: "#parse"
        in: {scene: scene}
        out: [parts]
      report:
        run: "#report"
        when: $(inputs.cloud_cover <= inputs.max_cloud_cover)
        in:
          parts: parse/parts
          cloud_cover: cloud_cover
          max_cloud_cover: max_cloud_cover
          detailed:
            source: style
            valueFrom: $(self === "long")
          title:
            source: scene
            valueFrom: $("Scene " + self.split("_")[0] + " over " + inputs.parts.tile)
        out: [report]

  - class: ExpressionTool
    id: parse
    label: Takes the name of a product apart
    requirements:
      InlineJavascriptRequirement: {}
    inputs:
      scene: string
    outputs:
      parts: Any
    expression: |
      ${
        var found = /^(S2[ABCD])_MSI(L1C|L2A)_(\d{4})(\d{2})(\d{2})T\d{6}_N(\d{4})_R(\d{3})_T(\w{5})/.exec(inputs.scene);
        if (!found) {
          throw "This is not the name of a Sentinel-2 product: " + inputs.scene;
        }
        return {"parts": {
          "mission": found[1],
          "level": found[2],
          "date": found[3] + "-" + found[4] + "-" + found[5],
          "baseline": found[6],
          "orbit": parseInt(found[7], 10),
          "tile": found[8]
        }};
      }

  - class: Workflow
    id: report
    label: Writes a report
    requirements:
      InlineJavascriptRequirement: {}
      StepInputExpressionRequirement: {}
    inputs:
      title: string
      parts: Any
      detailed: boolean
    outputs:
      report:
        type: File
        outputSource: write/report
    steps:
      write:
        run: "#write"
        in:
          title: title
          lines:
            source: parts
            valueFrom: |
              ${
                var names = inputs.detailed ? Object.keys(self).sort() : ["date", "tile"];
                return names.map(function (name) { return name + ": " + self[name]; });
              }
          detailed: detailed
        out: [report]

  - class: CommandLineTool
    id: write
    label: Writes lines to a file
    baseCommand: [printf, '%s\n']
    inputs:
      title:
        type: string
        inputBinding: {position: 1}
      lines:
        type: string[]
        inputBinding: {position: 2}
    stdout: report.txt
    outputs:
      report: stdout
