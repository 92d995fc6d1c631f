cwlVersion: v1.2
$namespaces: {s: "https://schema.org/", eo: "https://eo.example/"}
$graph:
- class: Workflow
  id: main
  requirements:
    ScatterFeatureRequirement: {}
    InlineJavascriptRequirement: {}
    StepInputExpressionRequirement: {}
    SchemaDefRequirement:
      types:
      - {name: '#eo:size', type: enum, symbols: ['s:a', 'm/s', '#ff0000', 'a?b', 'null', 'string', ' x ', 'EPSG:4326']}
      - {name: '#rec', type: record, fields: {'eo:cc': {type: int, inputBinding: {prefix: -rc}}, 'un:it': {type: '#eo:size', inputBinding: {prefix: -ru}}, plain: {inputBinding: {}, type: {type: enum, symbols: ['x:y', 'z']}}}}
  inputs:
    eo:cloud_cover: int
    sar:looks: {type: int, default: 100}
    size: {type: '#eo:size'}
    sizes: {type: '#eo:size[]', default: ['s:a', 'm/s']}
    r: {type: '#rec', default: {'eo:cc': 3, 'un:it': 'a?b', plain: 'x:y'}}
    u: {type: [int, {type: enum, symbols: ['p:q']}]}
  outputs:
    out:put: {type: 'string[]', outputSource: 'st:ep/te:xt'}
    rec: {type: 'Any', outputSource: 'rr/re:c'}
  steps:
    st:ep:
      run: '#to:ol'
      scatter: 'si:ze'
      in:
        si:ze: {source: sizes}
        c:c: {source: ['eo:cloud_cover']}
        l: 'sar:looks'
        r: r
        n: {default: 1e-7}
        v: {valueFrom: "$(inputs['c:c'] + 1)"}
        u: u
        one: size
      out: ['te:xt']
    rr:
      run: '#js'
      in: {r: r, 'k:k': u}
      out: [{id: 're:c'}]
- class: CommandLineTool
  id: 'to:ol'
  requirements:
    InlineJavascriptRequirement: {}
    SchemaDefRequirement:
      types:
      - {$import: '#eo:size'}
      - {$import: '#rec'}
  inputs:
    si:ze: {type: '#eo:size', inputBinding: {position: 1}}
    one: {type: '#eo:size', inputBinding: {position: 1}}
    c:c: {type: int, inputBinding: {prefix: --cc}}
    l: {type: int, inputBinding: {prefix: --l}}
    r: {type: '#rec', inputBinding: {}}
    n: {type: double, inputBinding: {prefix: --n=, separate: false}}
    v: {type: int, inputBinding: {}}
    u: {type: [int, {type: enum, symbols: ['p:q']}], inputBinding: {position: 5}}
  baseCommand: [echo, -n]
  arguments: ["--e=$(inputs['c:c'])", "--n=$(inputs.n)", "${return inputs['si:ze'] + 1e-9}", "$(inputs.r['eo:cc'])", "${return 1e-9}"]
  stdout: o.txt
  outputs:
    te:xt: {type: string, outputBinding: {glob: o.txt, loadContents: true, outputEval: "$(self[0].contents)"}}
- class: ExpressionTool
  id: js
  requirements: {InlineJavascriptRequirement: {}}
  inputs: {r: Any, 'k:k': Any}
  outputs: {'re:c': {type: {type: record, fields: {'a:b': int, e: {type: {type: enum, symbols: ['q:r']}}}}}}
  expression: "${return {'re:c': {'a:b': inputs.r['eo:cc'], e: 'q:r'}}}"
