// SPDX-License-Identifier: Apache-2.0

/// Policies with mistakes, and what is printed for each: `=== name`, the policy, `--- expected`, the diagnostics.
let diagnosticCases = ##"""
    === unknown top-level key with a near one
    stak: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:1:1: unknown key 'stak'
      hint: Did you mean 'stack'?
    lifeboat.yaml:1:1: the policy needs the key 'stack'
      hint: Name the stack: stack: my-stack.
    === unknown key with none near
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    zebra: 1
    --- expected
    lifeboat.yaml:5:1: unknown key 'zebra'
      hint: Known here: stack, repository, encryption, services, components, health, checks, secrets, retention, objectives, drill, guard, delta_cache, project.
    === unknown keys are all reported
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    servises: {}
    helth: []
    Retention: {last: 1}
    --- expected
    lifeboat.yaml:5:1: unknown key 'servises'
      hint: Did you mean 'services'?
    lifeboat.yaml:6:1: unknown key 'helth'
      hint: Did you mean 'health'?
    lifeboat.yaml:7:1: unknown key 'Retention'
      hint: Did you mean 'retention'?
    === keys of later versions
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    notify: []
    schedule: {backup: "0 2 * * *"}
    --- expected
    lifeboat.yaml:5:1: 'notify' is not supported in this version of lifeboat
      hint: Remove it, and let what runs lifeboat look at the exit code.
    lifeboat.yaml:6:1: 'schedule' is not supported in this version of lifeboat
      hint: Remove it, and let cron or a systemd timer run lifeboat.
    === misspelt key of a later version
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    notfy: []
    --- expected
    lifeboat.yaml:5:1: unknown key 'notfy'
      hint: Did you mean 'notify'?
    === nothing but a comment
    # nothing
    --- expected
    lifeboat.yaml:1:1: the policy is empty
      hint: Run 'lifeboat init' for a starter policy.
    === a list instead of a mapping
    - a
    - b
    --- expected
    lifeboat.yaml:1:1: the policy must be a mapping of keys to values, not a list
    === text instead of a mapping
    hello
    --- expected
    lifeboat.yaml:1:1: the policy must be a mapping of keys to values, not text
    === missing keys
    stack: demo
    --- expected
    lifeboat.yaml:1:1: the policy needs the key 'repository'
      hint: Say where snapshots go: repository: /var/backups/my-stack.
    lifeboat.yaml:1:1: the policy needs the key 'encryption'
      hint: Write 'encryption: {recipients: [age1…]}', 'encryption: {passphrase: {file: PATH}}' or 'encryption: none'.
    lifeboat.yaml:1:1: the policy needs the key 'components'
      hint: Name at least one thing to protect.
    === an empty section
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    drill:
    --- expected
    lifeboat.yaml:5:7: 'drill' has no value
      hint: Give it a mapping of keys to values, or remove the key.
    === duplicate key
    stack: a
    repository: /r
    encryption: none
    stack: b
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:4:1: duplicate key 'stack'
      hint: It is already given in line 1: keep one of the two.
    === duplicate keys at two levels, and more
    stack: a
    repository: /r
    encryption: none
    stack: b
    components:
      docs: {volume: {path: /a, path: /b}}
      docs: {volume: {path: /c}}
    objectives: {rto: 5}
    --- expected
    lifeboat.yaml:4:1: duplicate key 'stack'
      hint: It is already given in line 1: keep one of the two.
    lifeboat.yaml:6:29: duplicate key 'path'
      hint: It is already given in line 6: keep one of the two.
    lifeboat.yaml:7:3: duplicate key 'docs'
      hint: It is already given in line 6: keep one of the two.
    lifeboat.yaml:8:19: 'objectives.rto' needs a unit: '5'
      hint: Write 5s, 5m, 5h or 5d.
    === quoted duplicate in one line
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, "docs": {volum: {path: /e}}}
    --- expected
    lifeboat.yaml:4:42: duplicate key 'docs'
      hint: It is already given in line 4: keep one of the two.
    lifeboat.yaml:4:51: unknown store 'volum' in 'components.docs'
      hint: Did you mean 'volume'?
    === key written three times
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    objectives: {rto: 1h, rto: 2h, rto: 3h}
    --- expected
    lifeboat.yaml:5:23: duplicate key 'rto'
      hint: It is already given in line 5: keep one of the two.
    lifeboat.yaml:5:32: duplicate key 'rto'
      hint: It is already given in line 5: keep one of the two.
    === bad stack name
    stack: My Stack
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:1:8: 'stack' is no valid name: 'My Stack'
      hint: Use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit.
    === bad component name
    stack: demo
    repository: /r
    encryption: none
    components: {Docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:4:14: 'Docs' is no valid component name
      hint: Use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit.
    === repository in S3
    stack: a
    repository: s3://bucket/prefix
    encryption: none
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:2:13: a repository in S3 is not supported in this version of lifeboat
      hint: Use a local folder: repository: /var/backups/my-stack.
    === repository with keys
    stack: a
    repository: {url: s3://b, region: eu}
    encryption: none
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:2:13: a repository with keys of its own is not supported in this version of lifeboat
      hint: Use a local folder: repository: /var/backups/my-stack.
    === repository as another URL
    stack: a
    repository: sftp://host/x
    encryption: none
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:2:13: a repository is a folder, not a URL of kind 'sftp'
      hint: Write the plain path: repository: /var/backups/my-stack.
    === repository with a tilde
    stack: a
    repository: ~/backup
    encryption: none
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:2:13: 'repository' begins with '~', which only a shell knows
      hint: Write the whole path.
    === encryption missing
    stack: a
    repository: /r
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:1:1: the policy needs the key 'encryption'
      hint: Write 'encryption: {recipients: [age1…]}', 'encryption: {passphrase: {file: PATH}}' or 'encryption: none'.
    === encryption recipients
    stack: a
    repository: /r
    encryption: {recipients: [age1x]}
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:3:27: 'age1x' is not an age recipient
      hint: Recipients start with age1 and have 62 characters; 'lifeboat key generate' makes one.
    === encryption passphrase
    stack: a
    repository: /r
    encryption: {passphrase: secret}
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:3:26: 'encryption.passphrase' is a literal secret, which a policy must not hold
      hint: Write one of {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}.
    === encryption by another word
    stack: a
    repository: /r
    encryption: off
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:3:13: 'encryption' must be 'none' or a mapping, not text
      hint: Write 'encryption: {recipients: [age1…]}', 'encryption: {passphrase: {file: PATH}}' or 'encryption: none'.
    === unknown freeze
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {freeze: paus}
    --- expected
    lifeboat.yaml:5:20: unknown value 'paus' in 'services.freeze'
      hint: Did you mean 'pause'?
    === commands without start
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {commands: {stop: ["a b"]}}
    --- expected
    lifeboat.yaml:5:22: 'services.commands' needs the key 'start'
    === one command or three
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {commands: {stop: [systemctl, stop, api], start: [[systemctl, start, api]]}}
    --- expected
    lifeboat.yaml:5:29: 'services.commands.stop' could be one command or 3
      hint: Write [[systemctl, stop, api]] for one command, or [[systemctl], [stop], [api]] for 3.
    === shell syntax in a command
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {commands: {stop: "docker stop a && docker stop b", start: "run > /dev/null"}}
    --- expected
    lifeboat.yaml:5:29: 'services.commands.stop' uses '&&', and commands are run without a shell
      hint: Quote it if it is meant as it stands, or run a shell: [sh, -c, "…"].
    lifeboat.yaml:5:70: 'services.commands.start' uses '>', and commands are run without a shell
      hint: Quote it if it is meant as it stands, or run a shell: [sh, -c, "…"].
    === variables in a command
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {commands: {stop: 'stop "$NAME"', start: "start `id`"}}
    --- expected
    lifeboat.yaml:5:29: 'services.commands.stop' uses '$', and commands are run without a shell
      hint: Quote it if it is meant as it stands, or run a shell: [sh, -c, "…"].
    lifeboat.yaml:5:52: 'services.commands.start' uses '`', and commands are run without a shell
      hint: Quote it if it is meant as it stands, or run a shell: [sh, -c, "…"].
    === unclosed quote in a command
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {commands: {stop: "stop 'api", start: [[""]]}}
    --- expected
    lifeboat.yaml:5:29: 'services.commands.stop' has a ' that is not closed
    lifeboat.yaml:5:50: 'services.commands.start' names no program
    === empty list of commands
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {commands: {stop: [], start: {a: b}}}
    --- expected
    lifeboat.yaml:5:29: 'services.commands.stop' holds no command
      hint: Remove the key, or name a command.
    lifeboat.yaml:5:40: 'services.commands.start' must be a command: a list of words, or one line, not a mapping
    === a number as a command word is fine, a list is not
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {commands: {stop: [[sleep, 1]], start: [[sleep, [1]]]}}
    --- expected
    lifeboat.yaml:5:59: 'services.commands.start' must be a command: a list of words, not a list
    === no components
    stack: demo
    repository: /r
    encryption: none
    components: {}
    --- expected
    lifeboat.yaml:4:13: 'components' is empty
      hint: Name at least one thing to protect.
    === component without a store
    stack: demo
    repository: /r
    encryption: none
    components: {docs: }
    --- expected
    lifeboat.yaml:4:20: 'components.docs' has no value
      hint: Give it a mapping of keys to values, or remove the key.
    === component with two stores
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}, postgres: {database: a}}}
    --- expected
    lifeboat.yaml:4:14: 'components.docs' must have exactly one store
      hint: Write one of volume, postgres, qdrant, chroma, redis, sqlite, models, command: docs: {volume: {path: ./data}}.
    === unknown store
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volum: {path: /d}}}
    --- expected
    lifeboat.yaml:4:21: unknown store 'volum' in 'components.docs'
      hint: Did you mean 'volume'?
    === volume without a path
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {exclude: [a]}}}
    --- expected
    lifeboat.yaml:4:29: 'components.docs.volume' needs the key 'path'
    === volume with a wrong list and a wrong flag
    stack: demo
    repository: /r
    encryption: none
    components:
      docs:
        volume:
          path: /d
          exclude: a
          one_file_system: yes
          exclude_caches: [true]
    --- expected
    lifeboat.yaml:8:16: 'components.docs.volume.exclude' must be a list, not text
    lifeboat.yaml:9:24: 'components.docs.volume.one_file_system' must be true or false, not 'yes'
    lifeboat.yaml:10:23: 'components.docs.volume.exclude_caches' must be true or false, not a list
    === volumes overlap
    stack: demo
    repository: /r
    encryption: none
    components: {a: {volume: {path: /d/x}}, b: {volume: {path: /d/./}}}
    --- expected
    lifeboat.yaml:4:41: the volumes 'a' and 'b' overlap
      hint: '/d/x' and '/d' would be swapped one inside the other: keep one of them.
    === redis
    stack: demo
    repository: /r
    encryption: none
    components:
      a: {redis: {host: h, port: 70000, sockte: x, password: hunter2}}
      b: {redis: {socket: /s, host: h, tls: {ca: c, key: k}, user: u}}
      c: {redis: {service: r, container: "a b", transfer: copy, tls: 3}}
      d: {redis: {data: ~/x}}
      e: {redis: {port: 6379}}
    --- expected
    lifeboat.yaml:5:30: 'components.a.redis.port' must be a whole number from 1 to 65535, not '70000'
    lifeboat.yaml:5:37: unknown key 'sockte' in 'components.a.redis'
      hint: Did you mean 'socket'?
    lifeboat.yaml:5:58: 'components.a.redis.password' is a literal secret, which a policy must not hold
      hint: Write one of {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}.
    lifeboat.yaml:6:27: 'components.b.redis.host' and 'components.b.redis.socket' exclude each other
      hint: A server is reached over its socket or over the network: keep one.
    lifeboat.yaml:6:36: 'components.b.redis.tls' and 'components.b.redis.socket' exclude each other
      hint: A server is reached over its socket or over the network: keep one.
    lifeboat.yaml:6:49: 'components.b.redis.tls.key' needs 'components.b.redis.tls.certificate' beside it
    lifeboat.yaml:6:58: 'components.b.redis.user' needs a password
      hint: Add 'password: {env: REDIS_PASSWORD}', or remove the user.
    lifeboat.yaml:7:15: 'components.c.redis.container' and 'components.c.redis.service' exclude each other
      hint: Keep one of them.
    lifeboat.yaml:7:38: 'components.c.redis.container' is no name of a container
    lifeboat.yaml:7:55: unknown value 'copy' in 'components.c.redis.transfer'
      hint: Known here: replication, bgsave.
    lifeboat.yaml:7:66: 'components.c.redis.tls' must be true or false, not '3'
    lifeboat.yaml:8:21: 'components.d.redis.data' begins with '~', which only a shell knows
      hint: Write the whole path.
    lifeboat.yaml:9:3: the components 'd' and 'e' are the same server
      hint: Keep one of them: a snapshot holds all databases of a server.
    === the same server twice
    stack: demo
    repository: /r
    encryption: none
    components: {a: {redis: {}}, b: {redis: {host: 127.0.0.1, port: 6379}}}
    --- expected
    lifeboat.yaml:4:30: the components 'a' and 'b' are the same server
      hint: Keep one of them: a snapshot holds all databases of a server.
    === command
    stack: demo
    repository: /r
    encryption: none
    components:
      a: {command: {restore: [r]}}
      b: {command: {capture: "dump | gzip", minimum: 1000, environment: {A B: {env: X}, TOKEN: hunter2}}}
      c: {command: {capture: [dump], minimum: 1 KiB, keep_old: maybe, shell: true}}
    --- expected
    lifeboat.yaml:5:16: 'components.a.command' needs the key 'capture'
      hint: Name the program whose output is to be kept.
    lifeboat.yaml:6:26: 'components.b.command.capture' uses '|', and commands are run without a shell
      hint: Quote it if it is meant as it stands, or run a shell: [sh, -c, "…"].
    lifeboat.yaml:6:50: 'components.b.command.minimum' must be a size, not '1000'
      hint: Write it with a unit: 512B, 1KiB, 20MiB, 1.5GB.
    lifeboat.yaml:6:70: 'A B' is no name of an environment variable
    lifeboat.yaml:6:92: 'components.b.command.environment.TOKEN' is a literal secret, which a policy must not hold
      hint: Write one of {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}.
    lifeboat.yaml:7:60: 'components.c.command.keep_old' must be true or false, not 'maybe'
    lifeboat.yaml:7:67: unknown key 'shell' in 'components.c.command'
      hint: Known here: capture, restore, minimum, environment, keep_old.
    === same database twice
    stack: demo
    repository: /r
    encryption: none
    components: {a: {postgres: {database: x, port: 5432}}, b: {postgres: {database: x}}}
    --- expected
    lifeboat.yaml:4:56: the components 'a' and 'b' are the same database
      hint: Keep one of them.
    === repository inside a volume
    stack: a
    repository: ./data/backup
    encryption: none
    components: {docs: {volume: {path: ./data}}}
    --- expected
    lifeboat.yaml:4:14: the repository lies inside the volume 'docs': each backup would hold the ones before
      hint: Move the repository out of '/etc/demo/data', or exclude its folder.
    === literal password
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          password: hunter2
    --- expected
    lifeboat.yaml:8:17: 'components.database.postgres.password' is a literal secret, which a policy must not hold
      hint: Write one of {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}.
    === literal password as a list or mapping
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          password: [hunter2]
    --- expected
    lifeboat.yaml:8:17: 'components.database.postgres.password' must be a reference to a secret, not a list
      hint: Write one of {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}.
    === literal password as a key
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          password: {hunter2}
    --- expected
    lifeboat.yaml:8:18: 'components.database.postgres.password' has an unknown source
      hint: Write one of {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}.
    === two sources of a password
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          password: {env: A, file: b}
    --- expected
    lifeboat.yaml:8:17: 'components.database.postgres.password' must have exactly one source
      hint: Write one of {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}.
    === wrong source of a password
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          password: {env: $PW}
    --- expected
    lifeboat.yaml:8:23: 'components.database.postgres.password.env' is no name of an environment variable
      hint: Write the name without '$': {env: POSTGRES_PASSWORD}.
    === credential path
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          password: {credential: /etc/x}
    --- expected
    lifeboat.yaml:8:30: 'components.database.postgres.password.credential' must be a name, not a path
      hint: It is the name given to LoadCredential= in the systemd unit.
    === postgres container words
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          container: -v
          service: db
      other: {postgres: {database: app2, project: shop}}
    --- expected
    lifeboat.yaml:8:18: 'components.database.postgres.container' is no name of a container
    lifeboat.yaml:9:7: 'components.database.postgres.container' and 'components.database.postgres.service' exclude each other
      hint: Keep one of them.
    lifeboat.yaml:10:38: 'components.other.postgres.project' means nothing without 'service'
      hint: Name the service of that project which runs the server.
    === postgres databases
    stack: demo
    repository: /r
    encryption: none
    components:
      a: {postgres: {database: x, databases: [y]}}
      b: {postgres: {databases: []}}
      c: {postgres: {databases: [z, z, "*"]}}
      d: {postgres: {user: x}}
      e: {postgres: {databases: [z], jobs: 0}}
    --- expected
    lifeboat.yaml:5:31: 'components.a.postgres.database' and 'components.a.postgres.databases' exclude each other
      hint: Keep one of them.
    lifeboat.yaml:6:29: 'components.b.postgres.databases' is empty
      hint: Name at least one database.
    lifeboat.yaml:7:33: 'components.c.postgres.databases' names 'z' twice
    lifeboat.yaml:7:36: 'components.c.postgres.databases[2]' is no name of a database
      hint: Write database: "*" for all.
    lifeboat.yaml:8:17: 'components.d.postgres' needs the key 'database'
      hint: Or 'databases' with a list of names.
    lifeboat.yaml:9:3: the components 'c' and 'e' have a common database
      hint: Keep it in one of them.
    lifeboat.yaml:9:40: 'components.e.postgres.jobs' must be a whole number from 1 to 64, not '0'
    === bad port
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          port: 54322222
    --- expected
    lifeboat.yaml:8:13: 'components.database.postgres.port' must be a whole number from 1 to 65535, not '54322222'
    === port as text
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          port: five
    --- expected
    lifeboat.yaml:8:13: 'components.database.postgres.port' must be a whole number from 1 to 65535, not 'five'
    === unknown sslmode
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          sslmode: verify_full
    --- expected
    lifeboat.yaml:8:16: unknown value 'verify_full' in 'components.database.postgres.sslmode'
      hint: Did you mean 'verify-full'?
    === database is the maintenance database
    stack: demo
    repository: /r
    encryption: none
    components: {a: {postgres: {database: postgres}}}
    --- expected
    lifeboat.yaml:4:29: 'components.a.postgres.maintenance_database' must be another database than 'postgres'
      hint: A restore renames the database, and cannot be connected to it: name another, such as template1.
    === misspelt postgres keys
    stack: demo
    repository: /r
    encryption: none
    components:
      database:
        postgres:
          database: app
          databse: x
          usr: y
          MaintenanceDatabase: z
    --- expected
    lifeboat.yaml:8:7: unknown key 'databse' in 'components.database.postgres'
      hint: Did you mean 'database'?
    lifeboat.yaml:9:7: unknown key 'usr' in 'components.database.postgres'
      hint: Did you mean 'user'?
    lifeboat.yaml:10:7: unknown key 'MaintenanceDatabase' in 'components.database.postgres'
      hint: Did you mean 'maintenance_database'?
    === health is no list
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    health: {http: "http://h/"}
    --- expected
    lifeboat.yaml:5:9: 'health' must be a list, not a mapping
    === probe without a question
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {within: 5s}
    --- expected
    lifeboat.yaml:6:5: 'health[0]' must ask exactly one question
      hint: Write one of http, tcp, container, command, postgres: {http: "http://127.0.0.1:8080/health", within: 90s}.
    === probe with a misspelt question
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {htp: "http://h/", within: 5s}
    --- expected
    lifeboat.yaml:6:5: 'health[0]' must ask exactly one question
      hint: Write one of http, tcp, container, command, postgres: {http: "http://127.0.0.1:8080/health", within: 90s}.
    lifeboat.yaml:6:6: unknown key 'htp' in 'health[0]'
      hint: Did you mean 'http'?
    === probe with two questions
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {http: "http://h/", tcp: "h:1"}
    --- expected
    lifeboat.yaml:6:5: 'health[0]' must ask exactly one question
      hint: Write one of http, tcp, container, command, postgres: {http: "http://127.0.0.1:8080/health", within: 90s}.
    === duration without a unit
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {tcp: "h:1", within: 90}
    --- expected
    lifeboat.yaml:6:26: 'health[0].within' needs a unit: '90'
      hint: Write 90s, 90m, 90h or 90d.
    === duration with a wrong unit
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {tcp: "h:1", within: 90sec, interval: 1w}
    --- expected
    lifeboat.yaml:6:26: unknown unit 'sec' in 'health[0].within'
      hint: Units are ms, s, m, h and d, as in 90s, 15m, 48h and 7d.
    lifeboat.yaml:6:43: unknown unit 'w' in 'health[0].interval'
      hint: Units are ms, s, m, h and d, as in 90s, 15m, 48h and 7d.
    === duration in words
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {tcp: "h:1", within: a minute, interval: -5s}
    --- expected
    lifeboat.yaml:6:26: 'health[0].within' must be a length of time, not 'a minute'
      hint: Write it like 90s, 15m, 48h or 7d.
    lifeboat.yaml:6:46: 'health[0].interval' must be a length of time, not '-5s'
      hint: Write it like 90s, 15m, 48h or 7d.
    === duration of nothing, and of too much
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {tcp: "h:1", within: 99999d, interval: 0s}
    --- expected
    lifeboat.yaml:6:26: 'health[0].within' is longer than ten years: '99999d'
    lifeboat.yaml:6:44: 'health[0].interval' must be longer than nothing
    === passes that do not fit
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {tcp: "h:1", within: 5s, interval: 2s, consecutive: 10}
    --- expected
    lifeboat.yaml:6:5: 'health[0]' can never pass: 10 passes do not fit into its time
      hint: Raise 'within', or lower 'interval' or 'consecutive'.
    === URL of the wrong kind
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {http: "ftp://h/"}
    --- expected
    lifeboat.yaml:6:12: 'health[0].http' must be an http:// or https:// URL with a host
      hint: Write it like http://127.0.0.1:8080/health.
    === URL with a password
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {http: "http://me:hunter2@h/"}
    --- expected
    lifeboat.yaml:6:12: 'health[0].http' holds a user or password, which a policy must not hold
      hint: Ask a path that needs no login, or use a command that fetches the secret itself.
    === field without a value
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {http: "http://h/", field: status}
    --- expected
    lifeboat.yaml:6:5: 'health[0]' needs both 'field' and 'equals', or neither
      hint: 'field' is a path into the JSON answer, such as status or checks[0].ok.
    === field that is no path
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {http: "http://h/", field: "a..b[x]", equals: 1}
    --- expected
    lifeboat.yaml:6:32: 'health[0].field' is no path into JSON: 'a..b[x]'
      hint: Write names parted by dots and indexes in brackets: status, checks[0].ok.
    === bad status
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {http: "http://h/", status: OK}
    --- expected
    lifeboat.yaml:6:33: 'health[0].status' must be a whole number from 100 to 599, not 'OK'
    === bad address
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {tcp: 5432}
    --- expected
    lifeboat.yaml:6:11: 'health[0].tcp' must be HOST:PORT
      hint: Write it like 127.0.0.1:5432 or "[::1]:5432".
    === probe of an unknown component
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {postgres: databse}
    --- expected
    lifeboat.yaml:6:16: 'health[0].postgres' names no postgres component: 'databse'
      hint: Did you mean 'database'?
    === details of another question
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}, database: {postgres: {database: app}}}
    health:
      - {tcp: "h:1", equals: x}
    --- expected
    lifeboat.yaml:6:18: unknown key 'equals' in 'health[0]'
      hint: Known here: tcp, name, within, interval, consecutive.
    === retention that keeps nothing
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    retention: {last: 0, daily: 0}
    --- expected
    lifeboat.yaml:5:12: 'retention' would keep nothing
      hint: Give one rule a number above 0, or remove 'retention' to keep every snapshot.
    === retention with wrong values
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    retention: {last: -1, daily: many, within: 48, weakly: 2}
    --- expected
    lifeboat.yaml:5:19: 'retention.last' must be a whole number from 0 to 100000, not '-1'
    lifeboat.yaml:5:30: 'retention.daily' must be a whole number from 0 to 100000, not 'many'
    lifeboat.yaml:5:44: 'retention.within' needs a unit: '48'
      hint: Write 48s, 48m, 48h or 48d.
    lifeboat.yaml:5:48: unknown key 'weakly' in 'retention'
      hint: Did you mean 'weekly'?
    === retention with time zones that are none
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    retention: {last: 1, timezone: ../etc/passwd}
    --- expected
    lifeboat.yaml:5:32: 'retention.timezone' is no name of a time zone: '../etc/passwd'
      hint: Write it like Europe/Berlin or UTC.
    === objectives
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    objectives: {rto: 4, rpo: soon, rtx: 1h}
    --- expected
    lifeboat.yaml:5:19: 'objectives.rto' needs a unit: '4'
      hint: Write 4s, 4m, 4h or 4d.
    lifeboat.yaml:5:27: 'objectives.rpo' must be a length of time, not 'soon'
      hint: Write it like 90s, 15m, 48h or 7d.
    lifeboat.yaml:5:33: unknown key 'rtx' in 'objectives'
      hint: Did you mean 'rto'?
    === alias
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    health: &h []
    objectives: *h
    --- expected
    lifeboat.yaml:6:13: aliases (*name) are not supported in a policy
      hint: Write the value out; quote text that begins with '*', as in "*.tmp".
    === unquoted glob
    stack: demo
    repository: /r
    encryption: none
    components:
      docs:
        volume:
          path: /d
          exclude: [*.tmp]
    --- expected
    lifeboat.yaml:8:18: not valid YAML: did not find expected alphabetic or numeric character
      hint: Quote text that begins with '*' or '&', as in "*.tmp".
    === unquoted glob that looks like an alias
    stack: demo
    repository: /r
    encryption: none
    components:
      docs:
        volume:
          path: /d
          exclude: [*cache]
    --- expected
    lifeboat.yaml:8:17: aliases (*name) are not supported in a policy
      hint: Write the value out; quote text that begins with '*', as in "*.tmp".
    === merge key
    stack: demo
    repository: /r
    encryption: none
    components:
      docs:
        volume:
          path: /d
          <<: {a: b}
    --- expected
    lifeboat.yaml:8:7: unknown key '<<' in 'components.docs.volume'
      hint: YAML merge keys are not supported: write the keys out.
    === tag
    stack: !!binary aGk=
    repository: !path /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    --- expected
    lifeboat.yaml:1:8: tags (!name) are not supported in a policy
      hint: Write the plain value.
    lifeboat.yaml:1:8: 'stack' is no valid name: 'aGk='
      hint: Use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit.
    lifeboat.yaml:2:13: tags (!name) are not supported in a policy
      hint: Write the plain value.
    === tab
    stack: demo
    \##trepository: /r
    --- expected
    lifeboat.yaml:2:1: not valid YAML: found a tab character that violates indentation
      hint: Indent with spaces, not tabs.
    === bad indentation
    stack: demo
      repository: /r
    --- expected
    lifeboat.yaml:2:13: not valid YAML: mapping values are not allowed in this context
      hint: Check the indentation, and quote text that holds ': '.
    === bracket not closed
    stack: demo
    components: {docs: {volume: {path: /d}
    encryption: none
    --- expected
    lifeboat.yaml:3:1: not valid YAML: did not find expected ',' or '}'
      hint: A bracket opened before this place is not closed, or a comma is missing.
    === second document
    stack: demo
    ---
    stack: other
    --- expected
    lifeboat.yaml:2:1: a policy is one YAML document, and a second one begins here
      hint: Remove the line '---' and what follows it, or give it a file of its own.
    === key that is a list
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    ? [a, b]
    : c
    --- expected
    lifeboat.yaml:5:3: a key must be a word
    === control character
    stack: de\##u{1}mo
    --- expected
    lifeboat.yaml:1:10: not valid YAML: control characters are not allowed
    === columns count characters
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: "/päth", exclud: []}}}
    --- expected
    lifeboat.yaml:4:45: unknown key 'exclud' in 'components.docs.volume'
      hint: Did you mean 'exclude'?
    """##
