// SPDX-License-Identifier: Apache-2.0

/// As `diagnosticCases`, for the stores `sqlite` and `models` and what a volume says of databases.
let fileStoreCases = ##"""
    === sqlite without a path
    stack: demo
    repository: /r
    encryption: none
    components: {shop: {sqlite: {}}}
    --- expected
    lifeboat.yaml:4:29: 'components.shop.sqlite' needs the key 'path'
    === sqlite with the log for a path
    stack: demo
    repository: /r
    encryption: none
    components: {shop: {sqlite: {path: ./data/app.db-wal}}}
    --- expected
    lifeboat.yaml:4:36: 'components.shop.sqlite.path' names what SQLite keeps beside a database
      hint: Name the database itself: '/etc/demo/data/app.db'.
    === sqlite with a pattern and a wrong key
    stack: demo
    repository: /r
    encryption: none
    components:
      shop: {sqlite: {path: "./data/*.db", timeot: 3s}}
    --- expected
    lifeboat.yaml:5:25: 'components.shop.sqlite.path' is a pattern
      hint: Name one database; each of several is a component of its own.
    lifeboat.yaml:5:40: unknown key 'timeot' in 'components.shop.sqlite'
      hint: Known here: path.
    === the same database twice
    stack: demo
    repository: /r
    encryption: none
    components:
      one: {sqlite: {path: /d/app.db}}
      two: {sqlite: {path: /d/./app.db}}
    --- expected
    lifeboat.yaml:6:3: the components 'one' and 'two' have the same path
      hint: Keep one of them.
    === models with wrong words
    stack: demo
    repository: /r
    encryption: none
    components:
      m: {models: {layout: olama, keep: byte}}
    --- expected
    lifeboat.yaml:5:15: 'components.m.models' needs the key 'path'
    lifeboat.yaml:5:24: unknown value 'olama' in 'components.m.models.layout'
      hint: Did you mean 'ollama'?
    lifeboat.yaml:5:37: unknown value 'byte' in 'components.m.models.keep'
      hint: Did you mean 'bytes'?
    === a list of files nobody knows the source of
    stack: demo
    repository: /r
    encryption: none
    components:
      m: {models: {path: /m, layout: files, keep: manifest}}
    --- expected
    lifeboat.yaml:5:47: 'components.m.models.keep' cannot be manifest for files nobody knows the source of
      hint: Write 'keep: bytes'.
    === a database inside of models, and the repository too
    stack: demo
    repository: /m/repository
    encryption: none
    components:
      m: {models: {path: /m}}
      d: {sqlite: {path: /m/app.db}}
    --- expected
    lifeboat.yaml:5:3: the repository lies inside the models 'm': each backup would hold the ones before
      hint: Move the repository out of '/m'.
    lifeboat.yaml:6:3: the component 'd' lies inside of 'm'
      hint: A restore would exchange one inside the other: keep one of them.
    === a volume inside of models
    stack: demo
    repository: /r
    encryption: none
    components:
      v: {volume: {path: /m/v}}
      m: {models: {path: /m}}
    --- expected
    lifeboat.yaml:6:3: the component 'v' lies inside of 'm'
      hint: A restore would exchange one inside the other: keep one of them.
    === a volume that is the models
    stack: demo
    repository: /r
    encryption: none
    components:
      v: {volume: {path: /m, allow_live_databases: maybe}}
      m: {models: {path: /m}}
    --- expected
    lifeboat.yaml:5:48: 'components.v.volume.allow_live_databases' must be true or false, not 'maybe'
    lifeboat.yaml:6:3: the components 'v' and 'm' have the same path
      hint: Keep one of them.
    """##
