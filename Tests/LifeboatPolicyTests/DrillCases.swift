// SPDX-License-Identifier: Apache-2.0

/// As `diagnosticCases`, for drills.
let drillCases = ##"""
    === an unknown sandbox
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    drill: {sandbox: engine, where: /tmp, sample: 110%}
    --- expected
    lifeboat.yaml:5:18: unknown value 'engine' in 'drill.sandbox'
      hint: Did you mean 'engines'?
    lifeboat.yaml:5:26: unknown key 'where' in 'drill'
      hint: Known here: sandbox, folder, sample, probes.
    lifeboat.yaml:5:47: 'drill.sample' must be a share of more than 0% and at most 100%, not '110%'
      hint: Write it like 10%.
    === probes that ask nothing, too much, or the wrong component
    stack: demo
    repository: /r
    encryption: none
    components:
      docs: {volume: {path: /d}}
      data: {postgres: {database: d}}
    drill:
      probes:
        - {name: nothing}
        - {sql: "select 1", redis: ping, component: data}
        - {sql: "select 1"}
        - {sql: "select 1", component: dat}
        - {sql: "select 1", component: docs}
        - {neighbours: c, component: data}
        - {http: "ftp://{docs}/"}
    --- expected
    lifeboat.yaml:9:7: 'drill.probes[0]' must ask exactly one question
      hint: Write one of {http: URL}, {component: NAME, sql: "select …"}, {component: NAME, redis: "llen jobs"}, {component: NAME, neighbours: COLLECTION} or {command: [PROGRAM, ARGUMENT]}.
    lifeboat.yaml:10:7: 'drill.probes[1]' must ask exactly one question
      hint: Write one of {http: URL}, {component: NAME, sql: "select …"}, {component: NAME, redis: "llen jobs"}, {component: NAME, neighbours: COLLECTION} or {command: [PROGRAM, ARGUMENT]}.
    lifeboat.yaml:11:7: 'drill.probes[2]' needs the key 'component'
    lifeboat.yaml:12:36: 'drill.probes[3].component' names no component: 'dat'
      hint: Did you mean 'data'?
    lifeboat.yaml:13:8: 'docs' is a volume, which has no 'sql'
      hint: Ask a component that is a postgres or sqlite.
    lifeboat.yaml:14:8: 'data' is a postgres, which has no 'neighbours'
      hint: Ask a component that is a chroma or qdrant.
    lifeboat.yaml:15:14: 'drill.probes[6].http' must be an http:// or https:// URL with a host
      hint: Write it like http://127.0.0.1:8080/health.
    === a guard that says something else
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    guard: {least: 0%, except: [dcs], most: 3}
    --- expected
    lifeboat.yaml:5:16: 'guard.least' must be a share of more than 0% and at most 100%, not '0%'
      hint: Write 'guard: 20%', 'guard: {least: 20%, except: [queue]}' or 'guard: off'.
    lifeboat.yaml:5:29: 'guard.except' names no component: 'dcs'
      hint: Did you mean 'docs'?
    lifeboat.yaml:5:35: unknown key 'most' in 'guard'
      hint: Known here: least, except.
    """##
