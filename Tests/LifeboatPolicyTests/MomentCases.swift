// SPDX-License-Identifier: Apache-2.0

/// As `diagnosticCases`, for freeze, writers, checks and secrets.
let momentCases = ##"""
    === freeze without services
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {freeze: pause}
    --- expected
    lifeboat.yaml:5:12: 'services.freeze: pause' needs services to hold
      hint: Say beside it how they are stopped and started, or write 'freeze: none'.
    === pause by commands that cannot
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services:
      commands: {stop: "stop it", start: "start it"}
      freeze: pause
      writers: [api]
      freeze_limit: 60
    --- expected
    lifeboat.yaml:7:3: 'services.freeze: pause' needs commands that pause the services
      hint: Add 'pause' and 'unpause' to 'services.commands', or write 'freeze: stop'.
    lifeboat.yaml:8:3: 'services.writers' cannot be told apart: commands hold all services at once
      hint: Remove it, and let the commands hold what writes.
    lifeboat.yaml:9:17: 'services.freeze_limit' needs a unit: '60'
      hint: Write 60s, 60m, 60h or 60d.
    === writers that are never held
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services:
      systemd: {units: [api]}
      writers: [api]
      freeze_limit: 10s
    --- expected
    lifeboat.yaml:7:3: 'services.writers' has no effect: no writer is held
      hint: Add 'freeze: pause' or 'freeze: stop', or remove it.
    lifeboat.yaml:8:3: 'services.freeze_limit' has no effect: no writer is held
      hint: Add 'freeze: pause' or 'freeze: stop', or remove it.
    === no writers
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {systemd: {units: [api]}, freeze: stop, writers: []}
    --- expected
    lifeboat.yaml:5:60: 'services.writers' is empty: no writer would be held
      hint: Name services, or remove it to hold all but the servers of components.
    === servers that would be held
    stack: demo
    repository: /r
    encryption: none
    components:
      docs: {volume: {path: /d}}
      vectors: {qdrant: {url: "http://127.0.0.1:6333"}}
    services: {systemd: {units: [api, qdrant]}, freeze: pause}
    --- expected
    lifeboat.yaml:7:45: 'services.freeze' needs 'writers': which services serve 'vectors' is not known
      hint: Name the services that write, beside 'freeze': writers: [api, worker].
    === checks of the wrong shape
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, db: {postgres: {database: app}}}
    checks:
      - {name: none}
      - {name: two, equal: [1, {component: db, sql: select 1}], at_least: [2, {component: db, sql: select 1}]}
      - {equal: [1, {component: db, sql: select 1}]}
      - {name: one, equal: [{component: db, sql: select 1}]}
      - {name: numbers, equal: [1, 1.5]}
      - {name: words, equal: [many, {component: db, sql: select 1}]}
      - {name: percent, within: {percent: 120, of: [1, {component: db, sql: select 1}]}}
      - {name: typo, equals: [1, 2]}
    --- expected
    lifeboat.yaml:6:5: 'checks[0]' must have exactly one rule
      hint: Write one of equal: [A, B], at_least: [A, B], within: {percent: 1, of: [A, B]}.
    lifeboat.yaml:7:5: 'checks[1]' must have exactly one rule
      hint: Write one of equal: [A, B], at_least: [A, B], within: {percent: 1, of: [A, B]}.
    lifeboat.yaml:8:5: 'checks[2]' needs the key 'name'
      hint: Say in a few words what must hold.
    lifeboat.yaml:9:24: 'checks[3].equal' needs two values at least
      hint: Write a number, {component: NAME, sql: "select count(*) …"}, {component: NAME, points: COLLECTION}, {component: NAME, keys: DATABASE}, {component: NAME, files: PATTERN} or {http: URL, field: PATH}.
    lifeboat.yaml:10:28: 'checks[4].equal' compares numbers only, and asks nothing
      hint: Write a number, {component: NAME, sql: "select count(*) …"}, {component: NAME, points: COLLECTION}, {component: NAME, keys: DATABASE}, {component: NAME, files: PATTERN} or {http: URL, field: PATH}.
    lifeboat.yaml:11:27: 'checks[5].equal[0]' is neither a number nor a question: 'many'
      hint: Write a number, {component: NAME, sql: "select count(*) …"}, {component: NAME, points: COLLECTION}, {component: NAME, keys: DATABASE}, {component: NAME, files: PATTERN} or {http: URL, field: PATH}.
    lifeboat.yaml:12:39: 'checks[6].within.percent' must be a number from 0 to 100, not '120'
    lifeboat.yaml:13:5: 'checks[7]' must have exactly one rule
      hint: Write one of equal: [A, B], at_least: [A, B], within: {percent: 1, of: [A, B]}.
    lifeboat.yaml:13:18: unknown key 'equals' in 'checks[7]'
      hint: Did you mean 'equal'?
    === checks that ask the wrong store
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, db: {postgres: {database: app}}, x: {command: {capture: cat}}}
    checks:
      - {name: a, equal: [1, {component: dbb, sql: select 1}]}
      - {name: b, equal: [1, {component: docs, points: notes}]}
      - {name: c, equal: [1, {component: x, keys: 0}]}
      - {name: d, equal: [1, {component: db}]}
      - {name: e, equal: [1, {http: "ftp://a", field: n}]}
      - {name: a, equal: [1, {http: "http://a/", field: n..m}]}
    --- expected
    lifeboat.yaml:6:38: 'checks[0].equal[1].component' names no component: 'dbb'
      hint: Did you mean 'db'?
    lifeboat.yaml:7:44: 'docs' is a volume, which has no 'points'
      hint: Ask for files.
    lifeboat.yaml:8:41: 'x' is a command, which has no 'keys'
      hint: A command gives no numbers to compare.
    lifeboat.yaml:9:26: 'checks[3].equal[1]' must ask exactly one question
      hint: Write a number, {component: NAME, sql: "select count(*) …"}, {component: NAME, points: COLLECTION}, {component: NAME, keys: DATABASE}, {component: NAME, files: PATTERN} or {http: URL, field: PATH}.
    lifeboat.yaml:10:33: 'checks[4].equal[1].http' must be an http:// or https:// URL with a host
      hint: Write it like http://127.0.0.1:8080/health.
    lifeboat.yaml:11:6: a check is already called 'a'
      hint: Verdicts are told by name: give it another one.
    lifeboat.yaml:11:53: 'checks[5].equal[1].field' is no path into JSON: 'n..m'
      hint: Write names parted by dots and indexes in brackets: status, checks[0].ok.
    === secrets that are none
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    secrets:
      - JWT_SECRET_KEY
      - JWT_SECRET_KEY
      - hunter2-is-the-password
      - {name: KEY, from: hunter2}
      - {name: KEY2, from: {env: A}, env_file: ./.env}
      - {breaks: everything}
      - [A]
    --- expected
    lifeboat.yaml:7:5: secret 'JWT_SECRET_KEY' is named twice
      hint: Keep one of them.
    lifeboat.yaml:8:5: 'secrets[2]' is no name of an environment variable
      hint: Write NAME, or {name: NAME, breaks: "what another value breaks", from: {file: PATH}}.
    lifeboat.yaml:9:23: 'secrets[3].from' is a literal secret, which a policy must not hold
      hint: Write one of {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}.
    lifeboat.yaml:10:34: 'secrets[4].from' and 'secrets[4].env_file' exclude each other
      hint: Keep the one that has the value.
    lifeboat.yaml:11:5: 'secrets[5]' needs the key 'name'
      hint: Write NAME, or {name: NAME, breaks: "what another value breaks", from: {file: PATH}}.
    lifeboat.yaml:12:5: 'secrets[6]' must be the name of a secret, not a list
      hint: Write NAME, or {name: NAME, breaks: "what another value breaks", from: {file: PATH}}.
    """##
